"""The few commands without redis-py: the same answers as redis-py's, and the same patience."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from simulators.redis import RedisServer
from taskward.core.link import NoAnswer, Refusal
from taskward.core.linked import RETRIES, Linked

Step = Callable[[Any], Any]


def at_once(redis: Any) -> list[Any]:
    with redis.pipeline() as pipe:
        pipe.hset("h", "a", "1")
        pipe.set("s", "x")
        pipe.hgetall("h")
        pipe.hmget("h", ["a", "b"])
        pipe.publish("nobody-listens", "x")
        return [bool(answer) if answer is True else answer for answer in pipe.execute()]


STEPS: list[Step] = [
    lambda redis: redis.exists("s", "h"),
    lambda redis: redis.set("s", "x", xx=True) or False,
    lambda redis: bool(redis.set("s", b"\x00\xff\r\n")),
    lambda redis: bool(redis.set("s", "two", xx=True)),
    lambda redis: redis.get("s"),
    lambda redis: redis.get("none"),
    lambda redis: redis.exists("s", "s", "h"),
    lambda redis: redis.hset("h", "a", "1"),
    lambda redis: redis.hset("h", "a", "2"),
    lambda redis: redis.hset("h", "empty", ""),
    lambda redis: redis.hsetnx("h", "a", "3"),
    lambda redis: redis.hget("h", "a"),
    lambda redis: redis.hget("h", "b"),
    lambda redis: redis.hgetall("h"),
    lambda redis: redis.hgetall("none"),
    lambda redis: redis.rpush("l", "a", "b", "c"),
    lambda redis: redis.lrange("l", 0, -1),
    lambda redis: redis.lrange("l", 1, 1),
    lambda redis: redis.blpop(["none", "l"], 1),
    lambda redis: redis.blpop(["none"], 0.05),
    lambda redis: redis.smembers("none"),
    lambda redis: redis.sismember("none", "x"),
    lambda redis: redis.zrange("none", 0, -1),
    lambda redis: redis.zrem("none", "x"),
    lambda redis: redis.delete("h", "none"),
    lambda redis: at_once(redis),
]


@pytest.fixture
def linked(redis_server: RedisServer, redis: Redis) -> Linked:
    return Linked(redis_server.address("admin"))


def answers(client: Any, redis: Redis) -> list[Any]:
    for key in ("s", "h", "l"):
        redis.delete(key)
    return [step(client) for step in STEPS]


def test_every_answer_is_what_redis_py_says(linked: Linked, redis: Redis) -> None:
    assert answers(linked, redis) == answers(redis, redis)


def test_sets_are_read_as_redis_py_does(linked: Linked, redis: Redis) -> None:
    redis.sadd("set", "a", "b")
    redis.zadd("sorted", {"x": 1, "y": 2})
    assert linked.smembers("set") == redis.smembers("set")
    assert linked.sismember("set", "a") == redis.sismember("set", "a")
    assert linked.zrange("sorted", 0, -1) == redis.zrange("sorted", 0, -1)
    assert linked.zrem("sorted", "x") == 1


def test_an_error_of_one_command_is_among_the_answers_or_raised(linked: Linked, redis: Redis) -> None:
    redis.set("s", "x")
    with linked.pipeline() as pipe:
        pipe.hgetall("s")
        pipe.hmget("none", ["a"])
        wrong, none = pipe.execute(raise_on_error=False)
        assert "WRONGTYPE" in str(wrong)
        assert none == [None]
        with pytest.raises(Refusal, match="WRONGTYPE"):
            pipe.execute()
    assert linked.get("s") == b"x", "the connection is as good as before"


def test_what_a_role_may_not_do_stops_all_of_a_transaction(redis_server: RedisServer, redis: Redis) -> None:
    claimer = Linked(redis_server.address("claimer"))
    with claimer.pipeline() as pipe:
        pipe.set("tw:drain", "1")
        pipe.set("somebody-elses", "1")
        with pytest.raises(Refusal, match="EXECABORT"):
            pipe.execute()
    assert redis.get("tw:drain") is None
    claimer.close()


def test_no_word_can_become_another_command(linked: Linked, redis: Redis) -> None:
    linked.set("s", "x\r\n*1\r\n$8\r\nFLUSHALL\r\n")
    assert linked.get("s") == b"x\r\n*1\r\n$8\r\nFLUSHALL\r\n"


def test_a_large_value_comes_whole(linked: Linked) -> None:
    value = json.dumps(["x" * 1000] * 3000).encode()
    linked.set("s", value)
    assert linked.get("s") == value


def test_a_role_has_its_own_rights_only(redis_server: RedisServer, redis: Redis) -> None:
    with pytest.raises(Refusal, match="NOPERM"):
        Linked(redis_server.address("claimer")).get("somebody-elses")


def test_a_server_that_was_killed_is_waited_for(redis_server: RedisServer, linked: Linked) -> None:
    linked.set("s", "kept")
    redis_server.kill()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            redis_server.start()

    waiting = Linked(redis_server.address("admin"), pause)
    assert waiting.get("s") == b"kept"
    assert len(pauses) >= 3
    assert linked.get("s") == b"kept", "what idled over the restart is not used for an answer"


def test_patience_ends(redis_server: RedisServer, tmp_path: Path) -> None:
    pauses: list[float] = []
    nowhere = replace(redis_server.address("admin"), socket=tmp_path / "none.sock")
    with pytest.raises(NoAnswer, match="No such file"):
        Linked(nowhere, pauses.append).get("s")
    assert len(pauses) == RETRIES
    assert 60 < sum(pauses) < 120


def test_threads_do_not_hear_each_others_answers(linked: Linked, redis: Redis) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        for _ in range(200):
            linked.set(f"s{number}", str(number))
            if (found := linked.get(f"s{number}")) != str(number).encode():
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
