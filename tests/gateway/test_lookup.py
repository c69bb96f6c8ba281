"""One question to Redis: an answer, or the reason why there is none."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from simulators.patience import until
from simulators.redis import RedisServer
from simulators.redis_wire import ScriptedRedis, scripted_redis
from taskward.gateway.lookup import NoAnswer, Question


@pytest.fixture
def question(redis_server: RedisServer) -> Question:
    address = redis_server.address("gateway")
    return Question(address.socket, address.user, address.password_file.read_text().strip(), timeout_s=2)


@pytest.fixture
def scripted() -> Iterator[ScriptedRedis]:
    with (
        tempfile.TemporaryDirectory(prefix="tw") as directory,
        scripted_redis(Path(directory) / "r.sock") as server,
    ):
        yield server


def test_an_entry_is_what_was_stored_byte_for_byte(question: Question, redis_server: RedisServer) -> None:
    entry = bytes(range(256)) * 100
    redis_server.client("executor").set("tw:log:x", entry)

    assert question.get("tw:log:x") == entry
    assert question.get("tw:log:another") is None


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        ({"password": "wrong"}, "tw:log:x", "WRONGPASS"),
        ({"user": "nobody"}, "tw:log:x", "WRONGPASS"),
        ({}, "tw:creds:T/0", "NOPERM"),
        ({"socket": Path("/nonexistent/r.sock")}, "tw:log:x", "No such file"),
        ({"socket": Path("/" + "x" * 200)}, "tw:log:x", "path too long"),
    ],
)
def test_who_is_not_answered_hears_why(question: Question, change: dict[str, object], key: str, reason: str) -> None:
    with pytest.raises(NoAnswer, match=reason):
        replace(question, **change).get(key)  # type: ignore[arg-type]  # whichever field it is


@pytest.mark.parametrize(
    ("script", "ends", "reason"),
    [
        (b"", True, "ended"),
        (b"+OK\r\n$5\r\nhal", True, "ended|Broken pipe|reset by peer"),
        (b"+OK\r\n$900\r\n", False, "timed out"),
        (b"HTTP/1.1 400 Bad Request\r\n", False, "Protocol error"),
        (b"-LOADING Redis is loading\r\n", False, "LOADING"),
        (b"+OK\r\n:5\r\n", False, "no string"),
        (b"+OK\r\n*1\r\n$1\r\nx\r\n", False, "no string"),
        (b"+OK\r\n$3000000\r\n" + b"x" * 2_000_000, False, "too large"),
    ],
)
def test_nonsense_is_no_answer(scripted: ScriptedRedis, script: bytes, ends: bool, reason: str) -> None:
    scripted.script, scripted.ends = script, ends

    with pytest.raises(NoAnswer, match=reason):
        Question(scripted.path, "gateway", "secret", timeout_s=0.3).get("tw:log:x")


def test_a_key_cannot_become_a_second_command(scripted: ScriptedRedis) -> None:
    scripted.script = b"+OK\r\n$-1\r\n"

    assert Question(scripted.path, "gateway", "secret", 2).get("x\r\n*1\r\n$8\r\nFLUSHALL\r\n") is None

    until(lambda: len(scripted.heard) == 2)
    assert scripted.heard[1].endswith(b"$3\r\nGET\r\n$21\r\nx\r\n*1\r\n$8\r\nFLUSHALL\r\n\r\n")


def test_the_password_is_not_shown() -> None:
    assert "hidden-word" not in repr(Question(Path("/r.sock"), "gateway", "hidden-word", 1))
