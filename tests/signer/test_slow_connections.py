"""Callers who are silent, slow or many, at both doors: nobody else waits for them."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from signer import processes
from signer.authority import Authority
from signer.processes import Service
from signer.simulated_queue import SimulatedTask, SimulatedTaskcluster
from taskward.signer.client import SignerClient, TlsAddress

MANY = 200
SOON_S = 2.0
PATIENCE_S = 10
HALF_A_HEAD = b"POST /v1/certify HTTP/1.1\r\nHost: signer\r\nContent-Le"
HALF_A_BODY = b"POST /v1/certify HTTP/1.1\r\nHost: signer\r\nContent-Length: 1000\r\n\r\n{"
HALF_A_HANDSHAKE = bytes.fromhex("1603010200010001fc0303")
ALL_OF_A_REQUEST = b"GET /v1/keys HTTP/1.1\r\nHost: signer\r\n\r\n"


@pytest.fixture(scope="module")
def there() -> Iterator[Path]:
    with processes.short_directory() as path:
        yield path


@pytest.fixture(scope="module")
def authority(there: Path) -> Authority:
    return Authority(there, "authority")


@pytest.fixture(scope="module")
def address(
    there: Path, authority: Authority, keyholder: Service, shared_taskcluster: SimulatedTaskcluster
) -> Iterator[TlsAddress]:
    """A running signer that listens on all loopback addresses, as the worker `worker.example` calls it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    certificate, key = authority.issue("signer", "127.0.0.1")
    told = {
        "keyholder_socket": keyholder.directory / "keyholder.sock",
        "public_keys_dir": keyholder.directory / "public",
        "certificate_file": certificate,
        "key_file": key,
        "client_ca_file": authority.file,
        "listen": f"127.0.0.1:{port}",
    }
    section = {name: str(value) for name, value in told.items()}
    more = {"allowed_clients": ["worker.example", "busy.example"], "socket": None}
    config = processes.write_config(there, shared_taskcluster.root_url, signer={**section, **more})
    with processes.signer_on_port(config, port):
        yield TlsAddress("127.0.0.1", port, authority.file, *authority.issue("worker", "worker.example"))


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """Connections that stay open until the end of the test."""
    with ExitStack() as stack:
        yield stack


def shaken(address: TlsAddress, certificate: Path, key: Path) -> ssl.SSLSocket:
    """A connection with a client's certificate and nothing sent yet."""
    context = ssl.create_default_context(cafile=str(address.ca_file))
    context.load_cert_chain(certificate, key)
    plain = socket.create_connection((address.host, address.port), 10)
    return context.wrap_socket(plain, server_hostname=address.host)


def local(service: Service, sent: bytes = b"") -> socket.socket:
    """A connection to the Unix socket, with something sent."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(service.directory / "signer.sock"))
    connection.settimeout(10)
    with suppress(ConnectionError):  # it may have been dropped for others
        connection.sendall(sent)
    return connection


def is_open(connection: socket.socket) -> bool:
    """Whether the other side has neither closed nor said anything."""
    connection.setblocking(False)
    with suppress(ConnectionError):
        try:
            connection.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
    return False


def answered_soon(client: SignerClient, seconds: float = SOON_S) -> bool:
    started = time.monotonic()
    assert client.keys()["openpgp"]["fingerprint"]
    return time.monotonic() - started < seconds


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"], ids=["same-address", "other-address"])
@pytest.mark.parametrize("sent", [b"", HALF_A_HANDSHAKE, b"GET / HTTP/1.0\r\n"], ids=["silent", "half", "no-tls"])
def test_strangers_without_a_certificate_keep_nobody_waiting(
    address: TlsAddress, held: ExitStack, source: str, sent: bytes
) -> None:
    for _ in range(MANY):
        with suppress(ConnectionError):  # some are dropped for the others
            stranger = socket.create_connection((address.host, address.port), 10, source_address=(source, 0))
            held.enter_context(stranger).sendall(sent)
    assert answered_soon(SignerClient(address))


@pytest.mark.parametrize("sent", [b"", HALF_A_HEAD, HALF_A_BODY], ids=["silent", "half-head", "half-body"])
def test_a_worker_with_many_unfinished_requests_keeps_no_other_worker_waiting(
    address: TlsAddress, authority: Authority, held: ExitStack, sent: bytes
) -> None:
    certificate, key = authority.issue("busy", "busy.example")
    for _ in range(60):
        held.enter_context(shaken(address, certificate, key)).sendall(sent)
    assert answered_soon(SignerClient(address))


@pytest.mark.parametrize("sent", [b"", HALF_A_HEAD, HALF_A_BODY], ids=["silent", "half-head", "half-body"])
def test_unfinished_requests_at_the_unix_socket_keep_a_valid_one_not_waiting(
    signer: Service, client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask,
    held: ExitStack, sent: bytes,
) -> None:  # fmt: skip
    for _ in range(MANY):
        held.enter_context(local(signer, sent))
    started = time.monotonic()
    assert client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])
    assert time.monotonic() - started < SOON_S


def test_a_user_s_oldest_connections_make_room_for_its_newest(signer: Service, held: ExitStack) -> None:
    connections = [held.enter_context(local(signer)) for _ in range(MANY)]
    newest = local(signer, ALL_OF_A_REQUEST)
    assert newest.recv(1000).startswith(b"HTTP/1.1 200")
    newest.close()
    still_open = [is_open(connection) for connection in connections]
    assert still_open == sorted(still_open)
    assert 60 <= still_open.count(True) <= 64


def test_bodies_that_never_end_do_not_fill_the_memory(signer: Service, held: ExitStack) -> None:
    head = HALF_A_BODY.replace(b"1000", b"%d" % (32 * 1024 * 1024))
    connections = []
    for _ in range(6):
        connections.append(held.enter_context(local(signer, head)))
        with suppress(ConnectionError):
            connections[-1].sendall(bytes(31 * 1024 * 1024))
    with local(signer, ALL_OF_A_REQUEST) as newest:
        assert newest.recv(1000).startswith(b"HTTP/1.1 200")
    assert [is_open(connection) for connection in connections].count(True) <= 2  # 64 MiB


def test_the_patience_with_a_request_ends_however_its_bytes_trickle(
    signer: Service, address: TlsAddress, held: ExitStack
) -> None:
    """One after the other: silent, in a handshake, in a head, in a body, at both doors."""
    started = time.monotonic()
    strangers = [socket.create_connection((address.host, address.port), 10) for _ in range(2)]
    worker = [shaken(address, address.certificate_file, address.key_file) for _ in range(2)]
    users = [local(signer) for _ in range(3)]
    connections = [*strangers, *worker, *users]
    sent = [b"", HALF_A_HANDSHAKE, HALF_A_HEAD, HALF_A_BODY, b"", HALF_A_HEAD, HALF_A_BODY]
    for connection, start in zip(connections, sent, strict=True):
        held.enter_context(connection).sendall(start)
    trickling = [connection for connection, start in zip(connections, sent, strict=True) if start]
    while time.monotonic() - started < PATIENCE_S + 2:
        for connection in trickling:
            with suppress(OSError):
                connection.setblocking(True)
                connection.sendall(b"x")
        time.sleep(0.5)
    assert not any(is_open(connection) for connection in connections)


def test_a_request_that_ends_early_is_not_served(signer: Service) -> None:
    for part in (HALF_A_HEAD, HALF_A_BODY):
        with local(signer, part) as connection:
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1000) == b""


def test_a_request_that_comes_in_pieces_is_answered(signer: Service) -> None:
    with local(signer) as connection:
        for byte in ALL_OF_A_REQUEST:
            connection.sendall(bytes([byte]))
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def test_a_head_without_end_is_refused(signer: Service) -> None:
    with local(signer, b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 12_000) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 431")


def test_a_refusal_is_read_by_one_who_is_still_sending(address: TlsAddress, authority: Authority) -> None:
    """Whose certificate is for another name; the signer takes none of the body, and no thread waits for it."""
    with shaken(address, *authority.issue("other", "other.example")) as connection:
        connection.sendall(HALF_A_BODY.replace(b"1000", b"4000000"))
        sender = threading.Thread(target=connection.sendall, args=(bytes(100_000),))
        sender.start()
        sender.join()
        assert connection.recv(1000).startswith(b"HTTP/1.1 403")


def test_a_stopping_signer_waits_for_no_unfinished_request(
    keyholder: Service, directory: Path, taskcluster: SimulatedTaskcluster
) -> None:
    shared = {"keyholder_socket": keyholder.directory / "keyholder.sock", "public_keys_dir": keyholder.directory}
    told = {name: str(path) for name, path in shared.items()}
    config = processes.write_config(directory, taskcluster.root_url, signer=told)
    with processes.signer(config) as service, local(service, HALF_A_HEAD):
        started = time.monotonic()
        service.stop()
        assert time.monotonic() - started < 5
