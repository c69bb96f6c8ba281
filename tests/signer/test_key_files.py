"""Keys with wrong modes, wrong owners, wrong content: the keyholder does not start, and says what to do."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from signer import processes
from signer.processes import Service

MODULE = "taskward.signer.keyholder"


@pytest.fixture
def config(keyholder: Service, directory: Path) -> Path:
    """A configuration with a copy of good keys."""
    ignore = shutil.ignore_patterns("S.gpg-agent*", "*.lock", ".#*")
    shutil.copytree(keyholder.directory / "keys", directory / "keys", ignore=ignore)
    shutil.copy(keyholder.directory / "public" / "keys.json", directory)
    return processes.write_config(directory)


def complaint(config: Path) -> str:
    code, error = processes.failed_start(MODULE, config)
    assert code == 78
    return error.splitlines()[-1]


def test_copied_keys_are_good(config: Path) -> None:
    with processes.keyholder(config):
        assert (config.parent / "public" / "openpgp.asc").exists()


@pytest.mark.parametrize(
    ("name", "mode", "remedy"),
    [
        ("keys", 0o750, "chmod 0700"),
        ("keys/ed25519.key", 0o640, "chmod 0600"),
        ("keys/dsse.key", 0o604, "chmod 0600"),
        ("keys/openpgp/pubring.kbx", 0o620, "chmod 0600"),
        ("keys/openpgp", 0o711, "chmod 0700"),
        ("keys/openpgp/private-keys-v1.d", 0o755, "chmod 0700"),
    ],
)
def test_a_mode_that_lets_others_in_is_refused(config: Path, name: str, mode: int, remedy: str) -> None:
    path = config.parent / name
    path.chmod(mode)
    error = complaint(config)
    assert str(path) in error
    assert f"{mode:04o}" in error
    assert f"{remedy} {path}" in error


@pytest.mark.root
def test_a_key_of_another_user_is_refused(config: Path) -> None:
    key = config.parent / "keys" / "ed25519.key"
    os.chown(key, 65534, -1)
    error = complaint(config)
    assert "belongs to uid 65534" in error
    assert f"chown 0 {key}" in error


@pytest.mark.parametrize("name", ["keys/ed25519.key", "keys/openpgp", "keys"])
def test_a_symbolic_link_is_refused(config: Path, name: str) -> None:
    path = config.parent / name
    path.rename(config.parent / "elsewhere")
    path.symlink_to(config.parent / "elsewhere")
    assert f"{path} is a symbolic link" in complaint(config)


def test_a_link_to_nowhere_is_not_taken_for_a_missing_key(config: Path) -> None:
    path = config.parent / "keys" / "ed25519.key"
    path.unlink()
    path.symlink_to(config.parent / "nowhere")
    assert "symbolic link" in complaint(config)
    assert not (config.parent / "nowhere").exists()


def test_a_key_with_a_second_name_is_refused(config: Path) -> None:
    os.link(config.parent / "keys" / "ed25519.key", config.parent / "copy")
    assert "hard links" in complaint(config)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "holds 0 bytes"), (b"not base64!", "not base64"), (b"AAAA", "holds 3 bytes")],
)
def test_a_file_that_holds_no_seed_is_refused(config: Path, content: bytes, reason: str) -> None:
    (config.parent / "keys" / "ed25519.key").write_bytes(content)
    assert reason in complaint(config)


def test_a_seed_with_a_line_end_is_accepted(config: Path) -> None:
    key = config.parent / "keys" / "ed25519.key"
    key.write_bytes(key.read_bytes() + b"\n")
    with processes.keyholder(config):
        pass


def test_one_key_for_both_purposes_is_refused(config: Path) -> None:
    keys = config.parent / "keys"
    (keys / "dsse.key").write_bytes((keys / "ed25519.key").read_bytes())
    assert "are the same key" in complaint(config)


def test_two_openpgp_keys_are_refused(config: Path) -> None:
    gpg = ["gpg", "--homedir", str(config.parent / "keys" / "openpgp"), "--batch", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-gen-key", "second one", "ed25519"], check=True, capture_output=True)
    assert "holds 2 secret keys" in complaint(config)


def test_an_expired_openpgp_key_is_refused_with_the_remedy(config: Path) -> None:
    home = config.parent / "keys" / "openpgp"
    shutil.rmtree(home)
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--faked-system-time", "20200101T000000"]
    subprocess.run([*gpg, "--quick-gen-key", "old one", "ed25519", "sign", "1d"], check=True, capture_output=True)
    error = complaint(config)
    assert "expired at 2020-01-02" in error
    assert f"move {home} away" in error


def test_locks_that_a_host_left_behind_when_it_lost_power_keep_nobody_waiting(config: Path) -> None:
    home = config.parent / "keys" / "openpgp"
    (home / ".#lk0x1.host.1").write_text(f"{os.getpid():10}\n{os.uname().nodename}\n")  # another process by now
    for name in ("pubring.kbx", "trustdb.gpg"):
        os.link(home / ".#lk0x1.host.1", home / f"{name}.lock")
    with processes.keyholder(config):
        assert not list(home.glob("*.lock"))


def gpg_home(config: Path) -> list[str]:
    """The beginning of a gpg command for the worker's home, emptied; nothing of it stays when gpg has ended."""
    home = config.parent / "keys" / "openpgp"
    shutil.rmtree(home)
    home.mkdir(mode=0o700)
    (home / "gpg-agent.conf").write_text("s2k-count 65536\n")  # a passphrase costs no seconds
    return ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--passphrase"]


def test_a_key_with_a_passphrase_is_refused_with_the_remedy(config: Path) -> None:
    gpg = gpg_home(config)
    subprocess.run([*gpg, "secret", "--quick-gen-key", "some one", "ed25519", "sign"], check=True, capture_output=True)
    subprocess.run(["gpgconf", "--homedir", gpg[2], "--kill", "gpg-agent"], check=True)  # which would still know it
    error = complaint(config)
    assert "it has a passphrase, and nobody to type it" in error
    assert f"gpg --homedir {gpg[2]} --passwd" in error


def test_a_key_with_a_signing_subkey_is_refused_with_the_remedy(config: Path) -> None:
    home = config.parent / "keys" / "openpgp"
    fingerprint = json.loads((config.parent / "keys.json").read_text())["openpgp"]["fingerprint"]
    gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-add-key", fingerprint, "ed25519", "sign"], check=True, capture_output=True)
    error = complaint(config)
    assert "gpg signs with its subkey" in error
    assert f"gpg --homedir {home} --edit-key {fingerprint}, then delkey" in error


def test_a_revoked_key_is_refused_by_that_word(config: Path) -> None:
    home = config.parent / "keys" / "openpgp"
    [certificate] = (home / "openpgp-revocs.d").glob("*.rev")
    text = certificate.read_text().replace(":-----", "-----")
    subprocess.run(
        ["gpg", "--homedir", str(home), "--batch", "--import"], input=text.encode(), check=True, capture_output=True
    )
    assert "is revoked; remedy: move" in complaint(config)


def test_a_key_of_the_future_is_refused_with_gpg_s_words(config: Path) -> None:
    gpg = [*gpg_home(config), "", "--faked-system-time", "20990101T000000"]
    subprocess.run([*gpg, "--quick-gen-key", "new one", "ed25519", "sign"], check=True, capture_output=True)
    assert "in the future (time warp or clock problem)" in complaint(config)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "fifo"])
def test_what_is_no_file_is_no_key(config: Path, make: Callable[[Path, int], None]) -> None:
    key = config.parent / "keys" / "ed25519.key"
    key.unlink()
    make(key, 0o700 if make is Path.mkdir else 0o600)
    assert f"{key} is not a regular file; remedy: move it away" in complaint(config)


def test_a_file_is_no_home_for_gpg(config: Path) -> None:
    home = config.parent / "keys" / "openpgp"
    shutil.rmtree(home)
    home.touch(0o600)
    assert f"{home} is not a directory; remedy: move it away" in complaint(config)


@pytest.mark.root
def test_a_full_disk_is_named(config: Path) -> None:
    """First with good keys, which gpg cannot lock, then without any, which cannot be written."""
    keys, kept = config.parent / "keys", config.parent / "kept"
    shutil.copytree(keys, kept)
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k,mode=700", "none", str(keys)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("no right to mount here")
    try:
        shutil.copytree(kept, keys, dirs_exist_ok=True)
        fill(keys / "full")
        error = complaint(config)
        assert "gpg cannot list the keys in" in error
        assert "No space left on device" in error
        (keys / "ed25519.key").unlink()
        (keys / "dsse.key").unlink()
        shutil.rmtree(keys / "openpgp")
        fill(keys / "full")
        assert f"cannot use keys_dir {keys}: writing there: No space left on device" in complaint(config)
    finally:
        subprocess.run(["umount", "--lazy", str(keys)], check=True)


def fill(file: Path) -> None:
    """Until the disk has no room."""
    with open(file, "ab", buffering=0) as end, contextlib.suppress(OSError):
        file.chmod(0o600)
        while True:
            end.write(bytes(4096))


def test_a_key_that_was_being_made_when_the_keyholder_died_is_made_anew(directory: Path) -> None:
    config = processes.write_config(directory)
    half = directory / "keys" / "openpgp.new"
    half.mkdir(parents=True, mode=0o700)
    (directory / "keys").chmod(0o700)
    (half / "pubring.kbx").touch(mode=0o600)
    (directory / "keys" / ".ed25519.key.new").touch(mode=0o600)
    with processes.keyholder(config):
        assert sorted(path.name for path in (directory / "keys").iterdir()) == ["dsse.key", "ed25519.key", "openpgp"]


def test_a_missing_key_is_made_and_the_others_stay(config: Path) -> None:
    keys = config.parent / "keys"
    before = (keys / "ed25519.key").read_bytes()
    (keys / "dsse.key").unlink()
    with processes.keyholder(config):
        assert (keys / "ed25519.key").read_bytes() == before
        assert (keys / "dsse.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"key_dir": "/x"}, ["key_dir", "did you mean 'keys_dir'?"]),
        ({"allowed_users": ["no-such-user"]}, ["allowed_users", "no-such-user"]),
        ({"allowed_users": "root"}, ["allowed_users", "list"]),
        ({"socket": "relative"}, ["socket", "absolute"]),
        ({"socket": "/tmp/" + "x" * 120}, ["longer than 107"]),
        ({"socket_mode": "rw"}, ["socket_mode", "octal"]),
        ({"socket_group": "no-such-group"}, ["no-such-group"]),
        ({"openpgp_algorithm": "dsa"}, ["openpgp_algorithm", "rsa4096"]),
        ({"openpgp_expires_days": 0}, ["openpgp_expires_days"]),
        ({"user_id": "Name\\n%secring x"}, ["user_id"]),
        ({"user_id": "x"}, ["user_id", "five characters"]),
    ],
)
def test_a_wrong_setting_is_refused_by_name(config: Path, changes: dict[str, object], words: list[str]) -> None:
    processes.write_config(config.parent, keyholder=changes)
    error = complaint(config)
    assert all(word in error for word in words), error


def test_another_file_at_the_socket_s_place_is_left_alone(config: Path) -> None:
    (config.parent / "keyholder.sock").write_text("precious")
    assert "is not a socket" in complaint(config)
    assert (config.parent / "keyholder.sock").read_text() == "precious"


def test_a_socket_of_a_killed_keyholder_is_replaced(config: Path) -> None:
    with processes.keyholder(config) as service:
        service.stop(signal.SIGKILL)
    assert (config.parent / "keyholder.sock").exists()
    with processes.keyholder(config):
        pass


def test_public_keys_that_cannot_be_written_keep_the_keyholder_down(config: Path) -> None:
    (config.parent / "public").mkdir()
    (config.parent / "public" / "keys.json").mkdir()
    assert "cannot write to public_keys_dir" in complaint(config)


def test_a_machine_without_gpg_is_told_to_install_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(config.parent))
    assert "install gnupg" in complaint(config)
