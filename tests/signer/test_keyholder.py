"""The keyholder behind its socket: whom it answers, what it signs, what it cannot do."""

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from signer import processes
from signer.processes import Service, as_nobody, gpg_processes
from taskward.signer import wire
from taskward.signer.process import announce_ready

KNOCK = (
    "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
    "s.sendall(bytes([0, 0, 0, 7]) + b'ed25519' + bytes([0, 0, 0, 1]) + b'x'); print(len(s.recv(100)))"
)


def ask(service: Service, form: bytes, body: bytes) -> tuple[bytes, bytes]:
    with connected(service) as connection:
        wire.send_frames(connection, form, body)
        return (
            wire.receive_frame(connection, wire.MAX_WORD_BYTES),
            wire.receive_frame(connection, wire.MAX_BODY_BYTES),
        )


def connected(service: Service) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(15)
    connection.connect(str(service.directory / "keyholder.sock"))
    return connection


def test_ed25519_signs_exactly_the_body(keyholder: Service) -> None:
    body = b"any \0 bytes \r\n"
    verdict, signature = ask(keyholder, b"ed25519", body)
    assert verdict == wire.SIGNED
    public = base64.b64decode((keyholder.directory / "public" / "ed25519.pub").read_text())
    Ed25519PublicKey.from_public_bytes(public).verify(signature, body)


def test_one_key_never_signs_what_the_other_key_is_for(keyholder: Service) -> None:
    keys = json.loads((keyholder.directory / "public" / "keys.json").read_text())
    assert keys["ed25519"]["publicKey"] != keys["dsse"]["publicKey"]
    assert ask(keyholder, b"ed25519", b"x")[1] != ask(keyholder, b"dsse", b"x")[1]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"x" * 19_994, b"a line of 19994 bytes"),
        (b"form\x0cfeed", b"control characters"),
        (b"carriage\r\nreturn", b"control characters"),
        (b"blank \n", b"blanks at the end"),
        (b"\xff\xfe", b"not UTF-8"),
    ],
)
def test_a_text_that_clear_signing_would_change_is_refused(keyholder: Service, body: bytes, reason: bytes) -> None:
    verdict, message = ask(keyholder, b"openpgp", body)
    assert verdict == wire.REFUSED
    assert reason in message


@pytest.mark.parametrize("body", [b"- dash\n-----BEGIN PGP SIGNATURE-----\n", "ü ☃\n".encode(), b"x" * 19_993, b""])
def test_a_text_that_clear_signing_keeps_is_signed(keyholder: Service, body: bytes) -> None:
    assert ask(keyholder, b"openpgp", body)[0] == wire.SIGNED


def test_an_unknown_form_is_refused(keyholder: Service) -> None:
    assert ask(keyholder, b"rsa", b"x")[0] == wire.REFUSED


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\0\0\0\7ed2",
        b"\0\0\0\21" + b"x" * 17,
        b"\0\0\0\7ed25519\xff\xff\xff\xff",
        b"\0\0\0\7ed25519\0\0\0\5abc",
        b"GET / HTTP/1.0\r\n\r\n",
    ],
    ids=["nothing", "cut form", "long form", "huge body", "cut body", "http"],
)
def test_a_broken_message_costs_its_sender_the_connection_and_nobody_else(keyholder: Service, sent: bytes) -> None:
    with connected(keyholder) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    assert ask(keyholder, b"ed25519", b"x")[0] == wire.SIGNED


@pytest.mark.root
def test_another_user_gets_no_byte_even_where_the_socket_s_mode_lets_him_in(keyholder: Service) -> None:
    path = keyholder.directory / "keyholder.sock"
    keyholder.directory.chmod(0o755)
    path.chmod(0o666)
    try:
        done = as_nobody(KNOCK, str(path))
    finally:
        path.chmod(0o660)
        keyholder.directory.chmod(0o700)
    assert done.stdout.strip() == b"0" or b"ConnectionResetError" in done.stderr or b"BrokenPipe" in done.stderr
    assert "refused a connection of uid 65534" in keyholder.log.read_text()


def test_an_empty_list_of_users_refuses_even_its_own(directory: Path) -> None:
    config = processes.write_config(directory, keyholder={"allowed_users": []})
    with processes.keyholder(config) as service, connected(service) as connection:
        assert connection.recv(100) == b""
        assert "everybody is refused" in service.log.read_text()


def test_it_has_no_network_and_no_way_to_more_rights(keyholder: Service) -> None:
    status = Path(f"/proc/{keyholder.process.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    limits = Path(f"/proc/{keyholder.process.pid}/limits").read_text()
    assert "Max core file size        0                    0" in limits


@pytest.mark.root
def test_it_lives_in_a_network_namespace_of_its_own(keyholder: Service) -> None:
    ours = Path("/proc/self/ns/net").readlink()
    assert Path(f"/proc/{keyholder.process.pid}/ns/net").readlink() != ours


CONFINED = """
import socket
from taskward.signer.confine import drop_privileges, leave_network
drop_privileges()
leave_network()
socket.socket(socket.AF_UNIX).close()
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET):
    try:
        socket.socket(family, socket.SOCK_RAW if family == socket.AF_PACKET else socket.SOCK_DGRAM)
    except PermissionError:
        continue
    raise SystemExit(f"a socket of {family} was made")
print("confined")
"""


def test_confined_code_makes_unix_sockets_only() -> None:
    done = subprocess.run([processes.PYTHON, "-c", CONFINED], capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (0, b"confined\n"), done.stderr


@pytest.mark.root
def test_as_an_ordinary_user_it_has_no_network_sockets_either() -> None:
    done = as_nobody(CONFINED)
    assert (done.returncode, done.stdout) == (0, b"confined\n"), done.stderr


ALONE = """
import ctypes, os
from taskward.signer.confine import drop_privileges, leave_network
assert ctypes.CDLL(None).unshare(0x40000000) == 0  # CLONE_NEWNET, as systemd does it
os.setgid(65534), os.setuid(65534)
print(drop_privileges() + leave_network())
"""


@pytest.mark.root
def test_where_systemd_has_taken_the_network_away_nothing_is_missing() -> None:
    done = subprocess.run([processes.PYTHON, "-c", ALONE], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (0, "()\n"), done.stderr


SAYS_SO = """
import logging
from taskward.signer.confine import drop_privileges, leave_network
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
print(drop_privileges() + leave_network())
"""


@pytest.mark.root
def test_an_ordinary_user_s_log_says_what_holds_and_warns_of_nothing() -> None:
    done = as_nobody(SAYS_SO)
    assert (done.returncode, done.stdout) == (0, b"()\n"), done.stderr
    assert done.stderr == b"INFO off the network by sockets of the Unix family only\n"


@pytest.mark.root
def test_it_warns_where_nothing_keeps_it_off_the_network() -> None:
    done = as_nobody("import platform; platform.machine = lambda: 'vax'" + SAYS_SO)
    assert b"an empty network namespace (needs root): " in done.stdout
    assert b"sockets of the Unix family only: not written for vax" in done.stdout


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_systemd_hears_when_it_serves(monkeypatch: pytest.MonkeyPatch, directory: Path, abstract: bool) -> None:
    address = f"{directory}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{address}" if abstract else address)
        manager.settimeout(15)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{address}" if abstract else address)
        announce_ready()
        assert manager.recv(100) == b"READY=1"


def test_a_manager_that_is_gone_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", f"{directory}/nobody")
    announce_ready()
    assert "systemd is not told that this process is ready" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_at_its_end_agent_and_socket_are_gone(directory: Path, number: int) -> None:
    with processes.keyholder(processes.write_config(directory)) as service:
        ask(service, b"openpgp", b"x")
        assert gpg_processes(directory, "gpg-agent")
        assert service.stop(number) == 0
    assert not (directory / "keyholder.sock").exists()
    assert not gpg_processes(directory, "gpg-agent")


def test_killed_it_comes_back_with_the_same_keys_and_without_the_old_agent(directory: Path) -> None:
    config = processes.write_config(directory)
    with processes.keyholder(config) as service:
        before = (directory / "public" / "keys.json").read_text()
        old_agents = gpg_processes(directory, "gpg-agent")
        service.stop(signal.SIGKILL)
    with processes.keyholder(config) as service:
        assert (directory / "public" / "keys.json").read_text() == before
        assert ask(service, b"openpgp", b"x")[0] == wire.SIGNED
        assert not gpg_processes(directory, "gpg-agent") & old_agents


HANGING = """
import sys
from pathlib import Path
from taskward.signer.keyholder.keyring import Keyring
from taskward.signer.keyholder.server import serve
from taskward.signer.keyholder.settings import KeyholderSettings
from taskward.signer.sockets import listening
settings = KeyholderSettings.read(Path(sys.argv[1]))
with Keyring(settings) as keyring, listening(settings.door) as listener:
    print("ready", flush=True)
    serve(listener, keyring, settings.door.allowed_uids, answer_within_s=1)
"""


def test_a_hanging_agent_ends_the_keyholder_and_the_next_one_works(directory: Path) -> None:
    config = processes.write_config(directory)
    with subprocess.Popen([processes.PYTHON, "-c", HANGING, str(config)], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"ready\n"
        [agent] = gpg_processes(directory, "gpg-agent")
        os.kill(agent, signal.SIGSTOP)
        service = Service(first, directory, directory / "no.log")
        with pytest.raises(wire.BrokenFrameError):
            ask(service, b"openpgp", b"x")
        assert first.wait() == -signal.SIGALRM
    with processes.keyholder(config) as service:
        assert ask(service, b"openpgp", b"x")[0] == wire.SIGNED
        os.kill(agent, signal.SIGKILL)
        while gpg_processes(directory, "--clearsign"):  # of the first keyholder; it turns to the new agent
            threading.Event().wait(0.01)


def test_a_second_keyholder_of_the_same_keys_does_not_start(keyholder: Service) -> None:
    code, error = processes.failed_start("taskward.signer.keyholder", keyholder.directory / "worker.toml")
    assert code == 78
    assert "in use by another process" in error


def test_a_long_path_is_no_obstacle_for_gpg_s_agent(directory: Path) -> None:
    deep = directory / ("d" * 100)
    config = processes.write_config(directory, keyholder={"keys_dir": str(deep / "keys")})
    with processes.keyholder(config) as service:
        assert ask(service, b"openpgp", b"x")[0] == wire.SIGNED


@pytest.mark.parametrize("algorithm", ["rsa2048"])
def test_other_algorithms_sign_too(directory: Path, algorithm: str) -> None:
    changes = {"openpgp_algorithm": algorithm, "user_id": "Some Worker <worker@example.com>"}
    with processes.keyholder(processes.write_config(directory, keyholder=changes)) as service:
        assert ask(service, b"openpgp", b"x")[0] == wire.SIGNED
        assert json.loads((directory / "public" / "keys.json").read_text())["openpgp"]["algorithm"] == "rsa"


def test_private_files_are_private_and_public_ones_are_not(keyholder: Service) -> None:
    modes: Callable[[str], set[int]] = lambda name: {  # noqa: E731
        path.stat().st_mode & 0o077 for path in (keyholder.directory / name).rglob("*")
    }
    assert modes("keys") == {0}
    assert modes("public") == {0o044}
    assert (keyholder.directory / "public").stat().st_mode & 0o777 == 0o755
    seed = (keyholder.directory / "keys" / "ed25519.key").read_bytes()
    assert len(base64.b64decode(seed, validate=True)) == 32
