"""Questions to Redis that the proxy asks from many threads, and the channel that it listens to."""

import resource
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.rig import RedisServer, running_redis
from simulators.redis_wire import ScriptedRedis, scripted_redis
from taskward.proxy.redislink import Address, LinkFailed, LinkRefused, Links


@pytest.fixture
def scripted() -> Iterator[ScriptedRedis]:
    with (
        tempfile.TemporaryDirectory(prefix="tw") as directory,
        scripted_redis(Path(directory) / "r.sock") as server,
    ):
        yield server


def test_threads_get_each_its_own_answer(redis_server: RedisServer) -> None:
    links, others = redis_server.links, len(redis_server.client.client_list())
    for number in range(50):
        links.ask("SET", f"k{number}", f"v{number}")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: links.ask("GET", f"k{number % 50}"), range(400)))

    assert answers == [f"v{number % 50}".encode() for number in range(400)]
    assert len(redis_server.client.client_list()) <= others + 8


def test_an_error_is_told_and_the_link_goes_on(redis_server: RedisServer) -> None:
    links = redis_server.links
    links.ask("SET", "text", "x")

    with pytest.raises(LinkRefused, match="WRONGTYPE"):
        links.ask("HGETALL", "text")

    assert links.ask("GET", "text") == b"x"


def test_links_outlive_their_server() -> None:
    with running_redis() as server:
        links = server.links
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: links.ask("PING"), range(40)))
        server.stop()
        with pytest.raises(LinkFailed):
            links.ask("PING")

        server.start()

        assert links.ask("PING") == b"PONG"


def test_who_listens_hears_what_is_said_afterwards(redis_server: RedisServer) -> None:
    with redis_server.links.listen("channel") as link:
        assert link.hear(0.05) is None
        redis_server.client.publish("channel", "first")
        redis_server.client.publish("channel", "second")

        assert [link.hear(5), link.hear(5)] == [[b"message", b"channel", b"first"], [b"message", b"channel", b"second"]]


def test_who_listens_learns_that_the_server_is_gone() -> None:
    with running_redis() as server, server.links.listen("channel") as link:
        server.stop()

        with pytest.raises(LinkFailed, match=r"ended|reset"):
            link.hear(5)


def test_without_the_password_nothing_is_asked() -> None:
    with running_redis(acl_roles=["proxy"]) as server, pytest.raises(LinkRefused, match="WRONGPASS"):
        Links(Address(server.socket, 1, "proxy", "wrong")).ask("GET", "tw:creds:T/0")


@pytest.mark.parametrize(
    ("script", "ends", "reason"),
    [
        (b"", True, "ended"),
        (b"$5\r\nhal", True, "ended"),
        (b"$5\r\nhal", False, "timed out"),
        (b"HTTP/1.1 400 Bad Request\r\n", False, "Protocol error"),
        (b"$30000000\r\n" + b"x" * 20_000_000, True, "too large"),
    ],
)
def test_nonsense_is_no_answer(scripted: ScriptedRedis, script: bytes, ends: bool, reason: str) -> None:
    scripted.script, scripted.ends = script, ends

    with pytest.raises(LinkFailed, match=reason):
        Links(Address(scripted.path, timeout_s=0.3)).ask("GET", "x")


def test_a_server_that_hangs_costs_its_time_once(scripted: ScriptedRedis) -> None:
    began = time.monotonic()

    with pytest.raises(LinkFailed, match="timed out"):
        Links(Address(scripted.path, timeout_s=0.2)).ask("GET", "x")

    assert time.monotonic() - began < 2


def test_a_server_that_hangs_costs_its_time_once_however_many_links_are_idle() -> None:
    with running_redis() as server:
        assert server.process is not None
        links = Links(Address(server.socket, timeout_s=0.3))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: links.ask("GET", f"k{number}"), range(400)))
        server.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()

        with pytest.raises(LinkFailed, match="timed out"):
            links.ask("PING")

        assert time.monotonic() - began < 0.6
        server.process.send_signal(signal.SIGCONT)
        assert links.ask("GET", "x") is None


def test_who_has_no_descriptor_left_hears_that_no_link_opens(redis_server: RedisServer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(LinkFailed, match="Too many open files"):
            redis_server.links.ask("PING")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_password_is_not_shown() -> None:
    assert "hidden-word" not in repr(Address(Path("/r.sock"), 1, "proxy", "hidden-word"))
