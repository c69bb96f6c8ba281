"""Servers that never come to an end, or answer what nobody should."""

import gzip
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from executor.bench import Bench, Result, shell
from executor.mounts.web import Request, Web
from taskward.executor.mounts import porter

FAST_S = 0.01


def file(url: str) -> dict[str, Any]:
    return {"file": "f", "content": {"url": url}}


def get(bench: Bench, url: str, script: str = "wc -c < f") -> Result:
    return bench.run(shell(script), mounts=[file(url)])


def saying(pieces: Callable[[], Iterator[bytes]]) -> Callable[[Request], None]:
    """Writes what it is told, without any form, until the client goes away."""

    def handler(request: Request) -> None:
        try:
            for piece in pieces():
                request.wfile.write(piece)
                request.wfile.flush()
        except OSError:
            return

    return handler


def for_ever(beginning: bytes, again: bytes) -> Iterator[bytes]:
    yield beginning
    while True:
        yield again
        time.sleep(FAST_S)


@pytest.fixture
def impatient(mounting: Bench, web: Web, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(porter, "_SLACK_S", 0.2)
    monkeypatch.setattr(porter, "_PURGES_WITHIN_S", 0.5)
    mounting.use(executor={"mount_timeout_s": 1}, taskcluster={"root_url": web.url}, proxy={"port": web.port})
    return mounting


@pytest.mark.parametrize(
    ("beginning", "again"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", b"x"),
    ],
)
def test_a_server_that_never_stalls_and_never_ends_costs_the_time_limit(
    impatient: Bench, web: Web, beginning: bytes, again: bytes
) -> None:
    result = get(impatient, web.on("/f", saying(lambda: for_ever(beginning, again))))

    assert (result.outcome.state, result.outcome.reason) == ("failed", "failed"), result.log
    assert "Could not fetch from url " in result.log


def test_the_next_request_is_answered_after_one_that_took_too_long(impatient: Bench, web: Web) -> None:
    web.purge("x", "2020-01-01T00:00:00.000Z")
    impatient.run_payload({"command": [["true"]], "maxRunTime": 9, "mounts": [{"directory": "d", "cacheName": "x"}]},
                          scopes=["*"])  # fmt: skip
    web.on("/api/purge-cache/v1/purge-cache/proj-x%2Flinux", saying(lambda: for_ever(b"HTTP/1.1 200 OK\r\nX: ", b"y")))

    result = impatient.run_payload(
        {"command": shell("cat f"), "maxRunTime": 9,
         "mounts": [{"directory": "d", "cacheName": "x"}, file(web.page("/f", b"hello\n"))]}, scopes=["*"],
    )  # fmt: skip

    assert result.output == ["hello"], result.log
    assert "Could not reach purgecache service" in result.log


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"220 smtp ready\r\n",
    ],
)
def test_an_answer_that_cannot_be_is_no_content(impatient: Bench, web: Web, answer: bytes) -> None:
    result = get(impatient, web.on("/f", saying(lambda: iter([answer]))))

    assert (result.outcome.state, result.outcome.reason) == ("failed", "failed"), result.log
    assert result.output == []
    assert not list((impatient.state_dir / "downloads").glob("*/content"))


@pytest.mark.parametrize(
    ("body", "size"),
    [
        (gzip.compress(b"hello") + gzip.compress(b""), 5),
        (gzip.compress(b"") * 5000, 0),
        (gzip.compress(gzip.compress(b"hello")), len(gzip.compress(b"hello"))),
    ],
    ids=["an empty part", "nothing but empty parts", "twice"],
)
def test_content_that_is_stored_compressed_in_odd_ways(mounting: Bench, web: Web, body: bytes, size: int) -> None:
    result = get(mounting, web.page("/f", body, 200, **{"Content-Encoding": "gzip"}))

    assert result.output == [str(size)], result.log


@pytest.mark.parametrize(
    "body",
    [b"hello", gzip.compress(b"hello")[:-3], gzip.compress(b"hello") + b"garbage"],
    ids=["plain", "truncated", "with garbage"],
)
def test_content_that_only_says_it_is_compressed_is_refused(impatient: Bench, web: Web, body: bytes) -> None:
    result = get(impatient, web.page("/f", body, 200, **{"Content-Encoding": "gzip"}))

    assert result.outcome.state == "failed", result.log


def test_two_pages_that_lead_to_each_other_are_left(mounting: Bench, web: Web) -> None:
    web.page("/a", b"", 307, Location="/b?x=1")
    url = web.page("/b", b"", 308, Location="../a")

    result = get(mounting, url)

    assert "it redirects more than 10 times" in result.log
    assert web.count("/a") + web.count("/b") == 11
