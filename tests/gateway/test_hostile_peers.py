"""Peers that send halves, junk or nothing, and those that go without a word."""

import socket
import struct
import time

import pytest

from gateway.rig import Gateway, Reader


def test_half_a_request_holds_no_thread(gateway: Gateway) -> None:
    """Slow loris: many connections, each a few bytes of a head."""
    sockets = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(200)]
    try:
        for sock in sockets:
            sock.sendall(b"GET /log/x HTTP/1.1\r\nX-A: ")
        log = gateway.log()
        log.write(b"quick\n")
        log.finish()
        began = time.monotonic()
        assert gateway.answer(f"/log/{log.token}")[2] == b"quick\n"
        assert time.monotonic() - began < 4
    finally:
        for sock in sockets:
            sock.close()


@pytest.mark.parametrize(
    "start",
    [b"\r\n\r\n", b"\r\n\r\nGET /log/x", b"POST /log/x HTTP/1.1\r\nContent-Length: 9\r\n\r\n", b"\n\n", b"\0\r\n\r\n"],
)
def test_what_only_looks_like_a_request_holds_no_thread(gateway: Gateway, start: bytes) -> None:
    sockets = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(60)]
    for sock in sockets:
        sock.sendall(start)
    began = time.monotonic()
    assert gateway.answer("/log/wrong")[0] == 401
    assert time.monotonic() - began < 4
    for sock in sockets:
        sock.close()


def test_peers_that_reset_their_connections_end_nothing(gateway: Gateway) -> None:
    worker = gateway.worker_pid
    for sent in (b"", b"GET", b"a" * 30_000, b"GET /log/x HTTP/1.1\r\n\r\n"):
        for _ in range(50):
            sock = socket.create_connection(("127.0.0.1", gateway.port))
            sock.sendall(sent)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
    assert gateway.answer("/log/wrong")[0] == 401
    assert gateway.worker_pid == worker


def test_request_that_comes_byte_by_byte_is_served(gateway: Gateway) -> None:
    log = gateway.log()
    log.write(b"slow\n")
    log.finish()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in f"GET /log/{log.token} HTTP/1.1\r\nHost: x\r\n\r\n".encode():
            sock.sendall(bytes([byte]))
            time.sleep(0.001)
        answer = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    assert answer.endswith(b"slow\n")


def test_peers_that_do_not_close_keep_nobody_waiting(gateway: Gateway) -> None:
    kept = [Reader(gateway.port, "/log/wrong") for _ in range(50)]
    began = time.monotonic()
    assert gateway.answer("/log/wrong")[0] == 401
    assert time.monotonic() - began < 4
    for reader in kept:
        reader.sock.close()


def test_endless_head_is_refused(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as sock:
        sock.sendall(b"GET /log/x HTTP/1.1\r\nX-A: " + b"a" * 20_000)
        assert sock.recv(100).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "junk", [b"\0" * 100 + b"\r\n\r\n", b"GET\r\n\r\n", b"\r\n\r\n", b"GET /log/x HTTP/9.9\r\n\r\n"]
)
def test_junk_is_survived(gateway: Gateway, junk: bytes) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as sock:
        sock.sendall(junk)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1000):
            pass
    assert gateway.answer("/log/wrong")[0] == 401


def test_reader_that_talks_on_is_served_all_the_same(gateway: Gateway) -> None:
    log = gateway.log()
    with gateway.read(log) as reader:
        reader.head()
        reader.sock.sendall(b"GET /log/x HTTP/1.1\r\n\r\n" * 1000)
        log.write(b"line\n")
        log.finish()
        assert reader.rest() == b"line\n"
        assert reader.complete
