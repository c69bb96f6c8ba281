"""`taskward verify` against what a real signer made, and against what an attacker makes of it."""

import base64
import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from signer import processes
from signer.simulated_queue import SimulatedTaskcluster, running_taskcluster
from taskward.cli.errors import Unavailable
from taskward.cli.verify import VerificationReport, verify, verify_directory
from taskward.signer.client import SignerClient

ASC = "public/chainOfTrust.json.asc"
DOCUMENT = "public/chain-of-trust.json"
SIGNATURE = "public/chain-of-trust.json.sig"
CERTIFICATE = "public/logs/certificate.json.gpg"
PROVENANCE = "public/provenance.intoto.json"
LOG = "public/logs/live_backing.log"


@pytest.fixture(scope="module")
def signed() -> Iterator[Path]:
    """A directory with the downloads `run/` and `other/`, `public/` with the keys, `keys/` with the private ones."""
    with processes.short_directory() as directory:
        _sign(directory)
        yield directory


def _sign(directory: Path) -> None:
    with running_taskcluster() as taskcluster:
        config = processes.write_config(directory, taskcluster.root_url)
        with processes.keyholder(config), processes.signer(config):
            for name in ("run", "other"):
                _download(directory / name, taskcluster, SignerClient(directory / "signer.sock"))


def _download(target: Path, taskcluster: SimulatedTaskcluster, client: SignerClient) -> None:
    task = taskcluster.create_task({"chainOfTrust": True, "generateCertificate": True})
    artifacts = [task.upload("public/a.txt", b"ay"), task.upload("public/build/b c.bin", b"\0\1")]
    documents = client.certify(task.task_id, 0, taskcluster.run_credentials(task), artifacts)
    for document in documents:
        put(target, document.name, document.content)
    for name, (_, content) in task.artifacts.items():
        put(target, name, content)
    put(target, LOG, b"goes on after signing")


@pytest.fixture
def run(signed: Path, tmp_path: Path) -> Path:
    """A copy of the downloaded run that a test may spoil."""
    return Path(shutil.copytree(signed / "run", tmp_path / "run"))


@pytest.fixture
def check(signed: Path, run: Path) -> Callable[..., VerificationReport]:
    def verified(**options: object) -> VerificationReport:
        given = {
            "openpgp_key": signed / "public" / "openpgp.asc",
            "ed25519_keys": [(signed / "public" / "ed25519.pub").read_text()],
            "dsse_keys": [(signed / "public" / "dsse.pub").read_text()],
            **options,
        }
        return verify_directory(run, **given)  # type: ignore[arg-type]  # a test gives what it likes

    return verified


def put(directory: Path, name: str, content: bytes) -> None:
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(content)


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(verify, [str(argument) for argument in arguments])


def key_options(signed: Path) -> list[str | Path]:
    names = {"--openpgp-key": "openpgp.asc", "--ed25519-key": "ed25519.pub", "--dsse-key": "dsse.pub"}
    return [word for option, name in names.items() for word in (option, signed / "public" / name)]


def bad(report: VerificationReport) -> dict[str, str]:
    return {check.subject: check.message for check in report.checks if not check.ok}


Checker = Callable[..., VerificationReport]


def test_everything_a_signer_made_is_good(check: Checker) -> None:
    report = check(complete=True)
    assert bad(report) == {}
    assert report.ok
    assert {ASC, DOCUMENT, CERTIFICATE, PROVENANCE, "public/a.txt", "public/build/b c.bin"} <= {
        entry.subject for entry in report.checks
    }


def test_command_exits_0_with_the_run_named(signed: Path, run: Path) -> None:
    keys = signed / "public"
    arguments: list[str | Path] = ["--openpgp-key", keys / "openpgp.asc", "--ed25519-key", keys / "ed25519.pub"]
    result = command(run, *arguments, "--dsse-key", (keys / "dsse.pub").read_text())
    assert result.exit_code == 0
    assert "verified: task " in result.output


def test_command_reports_json_and_exits_1_for_a_changed_artifact(signed: Path, run: Path) -> None:
    put(run, "public/a.txt", b"changed")
    result = command(run, "--json", *key_options(signed))
    report = json.loads(result.output)
    assert result.exit_code == 1
    assert not report["ok"]
    assert [entry["subject"] for entry in report["checks"] if not entry["ok"]] == ["public/a.txt"]


@pytest.mark.parametrize("configured", ["nowhere", "without-keys"])
def test_command_exits_2_when_there_is_nothing_to_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: str
) -> None:
    system = tmp_path / "taskward.toml"
    monkeypatch.delenv("TASKWARD_CONFIG", raising=False)
    monkeypatch.setattr("taskward.cli.places.SYSTEM_CONFIG", system)
    monkeypatch.setattr("taskward.cli.places.dev_state_dir", lambda: tmp_path / "dev")
    if configured == "without-keys":
        system.write_text(worker_configuration(Path("/var/tmp/none"), system))
    result = command(tmp_path)
    assert "no key was given, and this machine has none" in result.output
    assert result.exit_code == 2
    assert "no signed document" in result.output


def worker_configuration(state_dir: Path, token: Path) -> str:
    return (
        f'[taskcluster]\nroot_url = "https://tc.example"\nclient_id = "c"\naccess_token_file = "{token}"\n'
        f'[worker]\ntask_queue_id = "a/b"\nworker_group = "g"\nworker_id = "w"\nstate_dir = "{state_dir}"\n'
    )


@pytest.fixture
def home() -> Iterator[Path]:
    with processes.short_directory() as directory:
        yield directory


def test_without_keys_those_of_the_worker_here_are_taken(signed: Path, run: Path, tmp_path: Path, home: Path) -> None:
    config = tmp_path / "worker.toml"
    config.write_text(worker_configuration(home, config))
    assert command(run, "--config", config).exit_code == Unavailable.exit_code

    shutil.copytree(signed / "public", home / "public-keys")
    result = command(run, "--config", config)
    assert result.exit_code == 0, result.output
    assert f"with the keys of the worker on this machine, in {home / 'public-keys'}" in result.output
    assert command(run, "--config", config, "--dsse-key", home / "public-keys/dsse.pub").exit_code == 2

    put(run, "public/a.txt", b"changed")
    assert command(run, "--config", config).exit_code == 1


def test_without_keys_and_without_a_worker_nothing_is_good(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKWARD_CONFIG", str(tmp_path / "none.toml"))
    result = command(run)
    assert result.exit_code == 1
    assert "no key was given, and this machine has none" in result.output


@pytest.mark.parametrize("option", ["--openpgp-key", "--ed25519-key", "--dsse-key"])
@pytest.mark.parametrize("content", [b"", b"AAAA", b"\xff\0"])
def test_command_exits_2_for_a_key_that_is_none(run: Path, tmp_path: Path, option: str, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    result = command(run, option, tmp_path / "key")
    assert result.exit_code == 2
    assert "key" in result.output


def test_command_exits_2_for_two_openpgp_keys_in_one_file(signed: Path, run: Path, tmp_path: Path) -> None:
    both = (signed / "public/openpgp.asc").read_bytes() + stranger_s(["--armor", "--export"])
    (tmp_path / "keys.asc").write_bytes(both)
    result = command(run, "--openpgp-key", tmp_path / "keys.asc")
    assert result.exit_code == 2
    assert "exactly one OpenPGP public key, it holds 2" in result.output


def test_a_document_without_a_key_to_check_it_fails(check: Checker) -> None:
    assert "no OpenPGP key was given" in bad(check(openpgp_key=None))[ASC]
    assert "no ed25519 key was given" in bad(check(ed25519_keys=[]))[DOCUMENT]
    assert "no DSSE key was given" in bad(check(dsse_keys=[]))[PROVENANCE]


def test_other_keys_are_refused(check: Checker, signed: Path) -> None:
    stranger = base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    assert DOCUMENT in bad(check(ed25519_keys=[stranger]))
    assert PROVENANCE in bad(check(dsse_keys=[(signed / "public" / "ed25519.pub").read_text()]))


def test_one_good_key_among_several_is_enough(check: Checker, signed: Path) -> None:
    stranger = base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    assert check(ed25519_keys=[stranger, (signed / "public" / "ed25519.pub").read_text()]).ok


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + b"\n",
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: json.dumps(json.loads(text)).encode(),
        lambda text: b"\xef\xbb\xbf" + text,
    ],
    ids=["newline", "crlf", "compact", "bom"],
)
def test_any_other_bytes_break_the_detached_signature(
    check: Checker, run: Path, change: Callable[[bytes], bytes]
) -> None:
    put(run, DOCUMENT, change((run / DOCUMENT).read_bytes()))
    assert "no given ed25519 key" in bad(check())[DOCUMENT]


@pytest.mark.parametrize(
    "change",
    [bytes.hex, lambda raw: raw + b"\n", lambda raw: raw + raw, lambda _: b"", base64.b64encode],
    ids=["hex", "newline", "twice", "empty", "base64"],
)
def test_only_64_raw_bytes_are_a_detached_signature(
    check: Checker, run: Path, change: Callable[[bytes], bytes | str]
) -> None:
    changed = change((run / SIGNATURE).read_bytes())
    put(run, SIGNATURE, changed.encode() if isinstance(changed, str) else changed)
    assert "a raw ed25519 signature has 64" in bad(check())[DOCUMENT]


def test_a_missing_detached_signature_fails(check: Checker, run: Path) -> None:
    (run / SIGNATURE).unlink()
    assert "cannot be read" in bad(check())[DOCUMENT]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"trust me\n" + text,
        lambda text: text + b"trust me\n",
        lambda text: text + text,
        lambda text: text.replace(b"Hash: SHA512\n", b"Hash: SHA512\nNotDashEscaped: yes\n"),
        lambda text: text.replace(b"Hash: SHA512\n", b"Hash: SHA512\nComment: hello\n"),
        lambda text: text.replace(b'"runId": 0', b'"runId": 1'),
        lambda text: text.replace(b'"runId": 0,\n', b'"runId": 0,\x0c hidden\n'),
        lambda text: text.replace(b'"runId": 0,\n', b'"runId": 0,' + b" " * 20_000 + b"\n"),
    ],
    ids=["before", "after", "two", "header", "comment", "changed", "form-feed", "long"],
)
def test_a_spoilt_clear_signed_message_is_refused(check: Checker, run: Path, change: Callable[[bytes], bytes]) -> None:
    put(run, ASC, change((run / ASC).read_bytes()))
    assert ASC in bad(check())


def test_trailing_blanks_are_not_taken_for_content(check: Checker, run: Path) -> None:
    put(run, ASC, (run / ASC).read_bytes().replace(b'"runId": 0,\n', b'"runId": 0,   \n'))
    assert check().ok  # OpenPGP does not cover them, and gpg does not hand them out


def test_a_stranger_s_clear_signature_is_refused(check: Checker, run: Path) -> None:
    body = (run / DOCUMENT).read_bytes()
    put(run, ASC, stranger_s(["--clearsign"], body))
    assert ASC in bad(check())


def test_documents_about_different_things_do_not_pass(check: Checker, run: Path, signed: Path) -> None:
    other = json.loads((run / DOCUMENT).read_bytes())
    other["artifacts"]["public/a.txt"]["sha256"] = "0" * 64
    resign(signed, run, json.dumps(other).encode())
    assert bad(check())["documents"] == "the documents differ in artifacts"


@pytest.mark.parametrize(
    ("name", "elsewhere"),
    [(ASC, "public/logs/chainOfTrust.json.asc"), (CERTIFICATE, "public/certificate.json.gpg")],
)
def test_another_task_s_document_is_refused_under_either_name(
    check: Checker, signed: Path, run: Path, name: str, elsewhere: str
) -> None:
    put(run, elsewhere, (run / name).read_bytes())
    assert check(complete=True).ok  # the same document twice does no harm

    shutil.copy(signed / "other" / name, run / name)
    assert bad(check())["documents"].startswith("the documents differ in ")
    (run / name).rename(run / "aside")
    (run / elsewhere).rename(run / name)
    (run / "aside").rename(run / elsewhere)
    assert bad(check())["documents"].startswith("the documents differ in ")


def test_another_task_s_document_is_refused_without_any_other_form(check: Checker, signed: Path, run: Path) -> None:
    for name in (DOCUMENT, SIGNATURE, CERTIFICATE, PROVENANCE):
        (run / name).unlink()
    (run / ASC).rename(run / "public/logs/chainOfTrust.json.asc")
    shutil.copy(signed / "other" / ASC, run / ASC)
    assert set(bad(check(ed25519_keys=[], dsse_keys=[]))) == {"documents"}


@pytest.mark.parametrize(
    ("kind", "names"),
    [("OpenPGP", (ASC, CERTIFICATE)), ("ed25519", (DOCUMENT, SIGNATURE)), ("DSSE", (PROVENANCE,))],
)
def test_a_given_key_demands_a_document_of_its_kind(
    check: Checker, signed: Path, run: Path, kind: str, names: tuple[str, ...]
) -> None:
    for name in names:
        (run / name).unlink()
    assert list(bad(check())) == [f"{kind} key"]
    assert names[0] in bad(check())[f"{kind} key"]
    result = command(run, *key_options(signed))
    assert result.exit_code == 1
    assert f"BAD     {kind} key: was given, but no document for it is there" in result.output


def test_one_openpgp_document_is_enough_for_its_key(check: Checker, run: Path) -> None:
    (run / CERTIFICATE).unlink()
    assert check(complete=True).ok


def test_a_key_given_twice_is_refused_although_the_signature_is_good(check: Checker, run: Path, signed: Path) -> None:
    text = (run / DOCUMENT).read_bytes().replace(b'"runId": 0', b'"runId": 7, "runId": 0')
    resign(signed, run, text)
    assert "given twice" in bad(check())[DOCUMENT]


def test_a_hash_that_is_none_is_refused(check: Checker, run: Path, signed: Path) -> None:
    document = json.loads((run / DOCUMENT).read_bytes())
    document["artifacts"]["public/a.txt"] = {}
    resign(signed, run, json.dumps(document).encode())
    assert DOCUMENT in bad(check())


def test_a_file_that_was_not_certified_is_refused(check: Checker, run: Path) -> None:
    put(run, "public/extra.sh", b"rm -rf /")
    assert bad(check()) == {"public/extra.sh": "not certified by the documents"}


def test_a_symbolic_link_is_refused_even_to_the_right_content(check: Checker, run: Path) -> None:
    (run / "public/a.txt").rename(run.parent / "elsewhere")
    (run / "public/a.txt").symlink_to(run.parent / "elsewhere")
    assert "public/a.txt" in bad(check())


def test_a_linked_directory_is_refused(check: Checker, run: Path) -> None:
    (run / "public/build").rename(run.parent / "build")
    (run / "public/build").symlink_to(run.parent / "build")
    assert "public/build" in bad(check())


def test_a_fifo_does_not_hang_the_verifier(check: Checker, run: Path) -> None:
    (run / "public/a.txt").unlink()
    os.mkfifo(run / "public/a.txt")
    assert bad(check())["public/a.txt"] == "not a regular file"


def test_a_directory_in_place_of_an_artifact_is_refused(check: Checker, run: Path) -> None:
    (run / "public/a.txt").unlink()
    (run / "public/a.txt").mkdir()
    assert bad(check()) == {"public/a.txt": "certified, but what is there is not a file"}
    assert not check(complete=True).ok
    assert check().absent == ("public/a.txt",)


def test_a_directory_in_place_of_a_document_is_refused(check: Checker, run: Path) -> None:
    (run / ASC).unlink()
    (run / ASC).mkdir()
    assert bad(check()) == {ASC: "not a regular file"}


def test_a_log_that_goes_on_after_signing_is_listed_as_unchecked(signed: Path, run: Path) -> None:
    put(run, LOG, b"evil")
    report = json.loads(command(run, "--json", *key_options(signed)).output)
    assert report["ok"]
    assert report["unchecked"] == [LOG]
    assert f"unchecked  {LOG}: no signature covers it" in command(run, *key_options(signed)).output


def test_without_logs_nothing_is_unchecked(check: Checker, run: Path) -> None:
    (run / LOG).unlink()
    assert check().unchecked == ()


def test_a_log_that_is_a_link_is_refused(check: Checker, run: Path) -> None:
    (run / LOG).unlink()
    (run / LOG).symlink_to("/etc/passwd")
    assert bad(check()) == {LOG: "neither a regular file nor a directory that can be read"}
    assert check().unchecked == ()


def test_a_file_in_a_directory_with_the_name_of_a_log_is_refused(check: Checker, run: Path) -> None:
    (run / LOG).unlink()
    put(run, f"{LOG}/extra.sh", b"rm -rf /")
    assert bad(check()) == {f"{LOG}/extra.sh": "not certified by the documents"}


def test_a_directory_that_cannot_be_read_is_refused(check: Checker, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "public/closed").mkdir()
    real = os.scandir

    def scandir(path: str) -> object:  # root reads every directory, so the system's refusal has to be simulated
        if str(path).endswith("/closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert bad(check()) == {"public/closed": "neither a regular file nor a directory that can be read"}


def test_an_absent_artifact_is_listed_and_refused_only_on_demand(check: Checker, run: Path) -> None:
    (run / "public/a.txt").unlink()
    assert check().ok
    assert check().absent == ("public/a.txt",)
    assert bad(check(complete=True)) == {"public/a.txt": "certified, but not there"}


def test_another_task_or_run_is_refused(check: Checker) -> None:
    assert "taskId" in bad(check(task_id="fN1SbArXTPSVFNUvaOlinQ"))
    assert "runId" in bad(check(run_id=1))
    assert check(task_id=check().task_id, run_id=0).ok


def stranger_s(words: list[str], content: bytes = b"") -> bytes:
    """What gpg answers to somebody with another key of the same name."""
    with processes.short_directory() as home:
        gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", ""]
        make = [*gpg, "--quick-gen-key", "taskward chain of trust", "ed25519", "sign", "never"]
        subprocess.run(make, check=True, capture_output=True)
        done = subprocess.run([*gpg, *words], input=content, check=True, capture_output=True)
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
        return done.stdout


def resign(signed: Path, run: Path, body: bytes) -> None:
    """Sign another document with the worker's own key."""
    seed = base64.b64decode((signed / "keys" / "ed25519.key").read_text())
    put(run, DOCUMENT, body)
    put(run, SIGNATURE, Ed25519PrivateKey.from_private_bytes(seed).sign(body))
