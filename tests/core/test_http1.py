"""Connections that are kept, and what servers do to them."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from simulators.patience import until
from taskward.core.http1 import Answer, Connection, Origin, Pool, head

TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@contextmanager
def server(*lives: list[bytes]) -> Iterator[Origin]:
    """One connection after the other; each answers so many requests with these bytes, and is closed then."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answers in lives:
                client, _ = listener.accept()
                with client:
                    for answer in answers:
                        client.recv(4096)  # requests are so small that they come whole
                        client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Origin("http", "127.0.0.1", listener.getsockname()[1])
        thread.join(5)
        assert not thread.is_alive(), "fewer connections were made"


def ask(pool: Pool, origin: Origin, method: str = "GET", most_bytes: int = 100) -> Answer:
    connection = pool.take(origin)
    try:
        connection.begin(5)
        connection.send(head(method, "/", {"Host": "h"}))
        return connection.answer(method, most_bytes)
    finally:
        pool.give_back(origin, connection)


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(TLS)
    yield pool
    pool.close()


def test_one_connection_serves_many_requests(pool: Pool) -> None:
    with server([OK, OK, OK]) as origin:
        assert [ask(pool, origin) for _ in range(3)] == [Answer(200, b"hello", True)] * 3


def test_connection_that_was_closed_meanwhile_is_replaced(pool: Pool) -> None:
    with server([], [OK]) as origin:
        closed = pool.open(origin)
        until(closed.is_stale, "the server has closed it", 5)
        pool.give_back(origin, closed)
        assert ask(pool, origin).content == b"hello"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (200, b"")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, (200, b"hello")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", (200, b"hello")),
    ],
    ids=["204", "empty", "continue", "chunked"],
)
def test_connection_is_kept_after_a_whole_answer(pool: Pool, answer: bytes, expected: tuple[int, bytes]) -> None:
    with server([answer, OK]) as origin:
        assert ask(pool, origin) == Answer(*expected, True)
        assert ask(pool, origin).content == b"hello"


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.0 200 OK\r\n\r\nhello"],
    ids=["told", "until-close"],
)
def test_connection_is_not_kept_when_the_server_closes_it(pool: Pool, answer: bytes) -> None:
    with server([answer], [OK]) as origin:
        assert ask(pool, origin) == Answer(200, b"hello", True)
        assert ask(pool, origin).content == b"hello"


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTT", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", b"SSH-2.0-server\r\n",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200],
    ids=["nothing", "cut", "short", "other", "short-chunk", "many-fields"],
)  # fmt: skip
def test_broken_answer_is_an_error_and_ends_the_connection(pool: Pool, answer: bytes) -> None:
    with server([answer], [OK]) as origin:
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(pool, origin)
        assert ask(pool, origin).content == b"hello"


def test_no_more_is_read_than_is_wanted_and_the_connection_ends(pool: Pool) -> None:
    with server([OK], [OK]) as origin:
        assert ask(pool, origin, most_bytes=2) == Answer(200, b"he", False)
        assert ask(pool, origin).content == b"hello"


def test_connections_do_not_outlive_their_pool() -> None:
    with server([OK]) as origin:
        forgotten = Pool(TLS)
        connection = forgotten.take(origin)
        forgotten.give_back(origin, connection)
        del forgotten
        with pytest.raises(OSError, match="Bad file descriptor"):
            connection.send(b"x")


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b"x"),
    ],
)
def test_an_answer_that_comes_in_drops_is_given_up(first: bytes, then: bytes) -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):
                client.sendall(first)
                while not over.wait(0.02):
                    client.sendall(then)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        connection = Connection(Origin("http", "127.0.0.1", listener.getsockname()[1]), TLS)
        connection.begin(0.2)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            connection.answer("PUT", 1000)
        assert time.monotonic() - began < 1
        assert not connection.usable
        connection.close()
        over.set()
        thread.join(5)


def test_answer_that_does_not_come_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = Connection(Origin("http", "127.0.0.1", silent.getsockname()[1]), TLS)
        connection.begin(0.05)
        connection.send(head("GET", "/", {}))
        with pytest.raises(TimeoutError):
            connection.answer("GET", 100)
        assert not connection.usable
        connection.close()


def refuse(make: Callable[[], bytes]) -> None:
    with pytest.raises(ValueError, match="control or foreign characters"):
        make()


@pytest.mark.parametrize("text", ["a\r\nX-Injected: 1", "a\nb", "a\x00b", "ü", "a\tb"])
def test_nothing_smuggles_lines_into_a_request(text: str) -> None:
    refuse(lambda: head("GET", f"/{text}", {}))
    refuse(lambda: head("GET", "/", {"Name": text}))
    refuse(lambda: head("GET", "/", {text: "value"}))
