"""What one role makes of Redis' memory stops no other; what is full has room again, and nothing is lost meanwhile."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from redis import Redis

from core.test_record import RUN, UNTIL, claim
from simulators.patience import until
from simulators.redis import RedisServer
from taskward.core import keys
from taskward.core.jobs import Job
from taskward.core.outcome import COMPLETED, failed
from taskward.core.record import Records
from taskward.core.redis_server import configuration

MIB = 1 << 20
LOWEST = ("gateway", "monitor", "proxy")


@contextmanager
def line(server: RedisServer, role: str) -> Iterator[socket.socket]:
    """A connection of `role`, byte for byte."""
    address = server.address(role)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(address.socket))
        connection.sendall(f"AUTH {role} {address.password_file.read_text().strip()}\r\n".encode())
        assert connection.recv(100).startswith(b"+OK")
        yield connection


def unfinished(connection: socket.socket, size: int) -> None:
    """A command whose last bytes never come; the server may hang up."""
    try:
        connection.sendall(b"*2\r\n$3\r\nGET\r\n$%d\r\n" % size)
        connection.sendall(b"x" * (size - 10))
    except OSError:
        connection.close()


def held_bytes(redis: Redis) -> int:
    return int(redis.info("memory")["used_memory"])


@pytest.fixture
def limit_bytes(redis: Redis) -> int:
    return int(redis.config_get("maxmemory")["maxmemory"] or 0)


def test_a_command_that_no_role_needs_is_refused_at_its_head(redis_server: RedisServer, redis: Redis) -> None:
    with line(redis_server, "gateway") as connection:
        connection.sendall(b"*2\r\n$3\r\nGET\r\n$150000000\r\n")
        assert b"invalid bulk length" in connection.recv(100)


def test_the_lowest_roles_hold_no_memory_that_others_need(
    redis_server: RedisServer, redis: Redis, limit_bytes: int
) -> None:
    with ExitStack() as held:
        for number in range(12):
            unfinished(held.enter_context(line(redis_server, LOWEST[number % 3])), 16_000_000)
        assert held_bytes(redis) < limit_bytes - 64 * MIB
        assert redis_server.client("claimer").set("tw:creds:a/0", "x" * MIB)


def test_answers_that_nobody_reads_hold_none_either(redis_server: RedisServer, redis: Redis, limit_bytes: int) -> None:
    with line(redis_server, "monitor") as connection:
        try:
            connection.sendall(b"INFO\r\n" * 40_000)
        except OSError:
            connection.close()
        assert held_bytes(redis) < limit_bytes - 64 * MIB
        assert redis_server.client("claimer").set("tw:creds:a/0", "x" * MIB)


def test_a_write_waits_until_there_is_room(redis_server: RedisServer, redis: Redis, limit_bytes: int) -> None:
    with ThreadPoolExecutor(1) as other:
        redis.config_set("maxmemory", "1")
        try:
            refused = redis.info("stats")["total_error_replies"]
            write = other.submit(redis_server.client("uploader").hset, keys.notes(RUN.key), "a", "b")
            until(lambda: redis.info("stats")["total_error_replies"] > refused)
            assert not write.done()
        finally:
            redis.config_set("maxmemory", str(limit_bytes))
        assert write.result(10) == 1


def test_a_run_comes_to_its_end_though_there_is_no_room(
    redis_server: RedisServer, redis: Redis, limit_bytes: int
) -> None:
    executor, uploader, claimer = (Records(redis_server.client(role)) for role in ("executor", "uploader", "claimer"))
    claim(claimer)
    redis.config_set("maxmemory", "1")
    try:
        executor.move(RUN, ("claimed",), "collecting", "me")
        executor.fan_out(RUN, "me", 1, COMPLETED)
        uploader.batch_done(RUN, 0)
        assert uploader.uploaded(RUN)
        claimer.move(RUN, ("uploading",), "resolving", "claimer")
        claimer.resolved(RUN)
    finally:
        redis.config_set("maxmemory", str(limit_bytes))
    assert claimer.active() == frozenset()


def test_a_resolved_run_holds_next_to_nothing(records: Records, redis: Redis) -> None:
    records.claim(RUN, {"payload": "x" * 9_000_000}, UNTIL, "group", "worker", "{}", ["scope"] * 10_000)
    records.move(RUN, ("claimed",), "collecting", "me")
    records.fan_out(RUN, "me", 0, failed("why " * 1_000_000))
    redis.delete(*Job.finish(RUN).keys, *Job.execute(RUN).keys)
    records.resolved(RUN)
    assert sum(redis.memory_usage(key) or 0 for key in redis.scan_iter()) < 8000
    assert not claim(records)


@pytest.mark.parametrize("text", ["\u00fc" * 4_500_000, "\U0001f600" * 2_400_000, "\\" * 4_900_000, "\ud800", "\x7f"])
def test_the_largest_definitions_have_room(records: Records, redis: Redis, text: str) -> None:
    records.claim(RUN, {"payload": text}, UNTIL, "group", "worker", "{}")
    record = records.read(RUN)
    assert record is not None
    assert record.definition == {"payload": text}


def most_bytes(capacity: int, max_artifacts: int) -> int:
    text = configuration(Path("/d"), Path("/s"), Path("/a"), capacity, max_artifacts)
    return int(dict(line.split(" ", 1) for line in text.splitlines())["maxmemory"])


def test_more_runs_and_more_artifacts_have_more_room() -> None:
    assert most_bytes(4, 1000) - most_bytes(3, 1000) > 10_000_000
    assert most_bytes(4, 100_000) - most_bytes(4, 0) > 4 * 100_000 * 100
