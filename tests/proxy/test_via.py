"""Servers behind another proxy are reached through it, and one that misbehaves costs no more than its time."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from taskward.proxy.errors import UpstreamError
from taskward.proxy.named.exchange import ask
from taskward.proxy.routes import RootUrl
from taskward.proxy.upstream import Pool
from taskward.proxy.via import Via

ROOT = RootUrl.parse("http://balrog.internal")
ANSWER = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
Script = Callable[[socket.socket], None]


def until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        piece = sock.recv(1)
        if not piece:
            break
        data += piece
    return data


@pytest.fixture
def middle() -> Iterator[Callable[[Script], int]]:
    """A proxy on the way that follows a script for one connection."""
    opened: list[tuple[socket.socket, threading.Thread]] = []

    def start(script: Script) -> int:
        listener = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                script(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        opened.append((listener, thread))
        return int(listener.getsockname()[1])

    yield start
    for listener, thread in opened:
        thread.join(5)
        listener.close()


def connect_proxy(sock: socket.socket) -> None:
    assert until(sock, b"\r\n\r\n").startswith(b"CONNECT balrog.internal:80 HTTP/1.1\r\n")
    sock.sendall(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
    assert until(sock, b"\r\n\r\n").startswith(b"GET / HTTP/1.1\r\nHost: balrog.internal\r\n")
    sock.sendall(ANSWER)


def socks_proxy(sock: socket.socket) -> None:
    assert sock.recv(3) == b"\x05\x01\x00"
    sock.sendall(b"\x05\x00")
    assert sock.recv(100) == b"\x05\x01\x00\x03\x0fbalrog.internal\x00\x50"
    sock.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
    until(sock, b"\r\n\r\n")
    sock.sendall(ANSWER)


@pytest.mark.parametrize(("scheme", "script"), [("http", connect_proxy), ("socks5", socks_proxy)])
def test_a_server_is_reached_through_a_proxy_that_knows_its_name(
    middle: Callable[[Script], int], scheme: str, script: Script
) -> None:
    via = Via.parse(f"{scheme}://127.0.0.1:{middle(script)}")
    assert ask(Pool(ROOT, 2, 2, None, via), "GET", "/", [("Host", ROOT.authority)], 2).status == 401


@pytest.mark.parametrize(
    ("scheme", "answer"),
    [
        ("http", b"HTTP/1.1 403 Forbidden\r\n\r\n"),
        ("http", b"garbage\r\n\r\n"),
        ("http", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20000),
        ("http", b""),
        ("socks5", b"\x04\x00"),
        ("socks5", b"\x05\xff"),
        ("socks5", b"\x05\x00\x05\x05\x00\x01"),
        ("socks5", b"\x05\x00\x05\x00\x00\x01\x7f"),
    ],
)
def test_a_proxy_that_refuses_or_misbehaves_is_told(
    middle: Callable[[Script], int], scheme: str, answer: bytes
) -> None:
    def script(sock: socket.socket) -> None:
        sock.settimeout(2)
        try:
            sock.recv(100)
            sock.sendall(answer)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1000):
                pass
        except OSError:
            return

    via = Via.parse(f"{scheme}://127.0.0.1:{middle(script)}")
    with pytest.raises(UpstreamError, match="the proxy on the way") as caught:
        ask(Pool(ROOT, 1, 1, None, via), "GET", "/", [("Host", ROOT.authority)], 1)
    assert not caught.value.sent


@pytest.mark.parametrize("text", ["", "ftp://x", "http://", "http://u:p@x:1", "socks5://x/y", "x:1"])
def test_a_strange_proxy_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Via.parse(text)


def test_an_answer_that_drips_ends_in_time(middle: Callable[[Script], int]) -> None:
    stop = threading.Event()

    def drip(sock: socket.socket) -> None:
        until(sock, b"\r\n\r\n")
        try:
            while not stop.wait(0.05):
                sock.sendall(b"H")
        except OSError:
            return

    root = RootUrl.parse(f"http://127.0.0.1:{middle(drip)}")
    with pytest.raises(UpstreamError):
        ask(Pool(root, 1, 1, None), "GET", "/", [("Host", root.authority)], 0.3)
    stop.set()


def test_an_endless_answer_is_given_up(middle: Callable[[Script], int]) -> None:
    def flood(sock: socket.socket) -> None:
        until(sock, b"\r\n\r\n")
        try:
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                sock.sendall(b"x" * 65536)
        except OSError:
            return

    root = RootUrl.parse(f"http://127.0.0.1:{middle(flood)}")
    with pytest.raises(UpstreamError, match="larger than"):
        ask(Pool(root, 1, 1, None), "GET", "/", [("Host", root.authority)], 5)
