"""What the uploader's stolen password does to runs: it can spoil and delay uploads; it decides nothing else."""

from collections.abc import Callable

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from core.test_record import RUN, UNTIL, claim, collecting
from simulators.redis import RedisServer
from taskward.core import keys
from taskward.core.jobs import UPLOAD, Job
from taskward.core.outcome import COMPLETED, failed
from taskward.core.record import Record, Records

FORGED = COMPLETED.to_json()
GARBAGE: tuple[str | bytes, ...] = (
    b"\xff", "[" * 100_000, "{}", "null", '{"state": "completed", "reason": "completed"}',
    '{"state": ["failed"], "reason": "failed", "message": "", "unreported": false}',
    '{"state": "lost", "reason": "lost", "message": "", "unreported": false}',
    '{"state": "exception", "reason": "canceled", "message": "", "unreported": true}',
    '{"state": "completed", "reason": "canceled", "message": "", "unreported": true}', FORGED,
)  # fmt: skip


@pytest.fixture
def thief(redis_server: RedisServer, redis: Redis) -> Redis:
    return redis_server.client("uploader")


@pytest.fixture
def executor(redis_server: RedisServer, redis: Redis) -> Records:
    return Records(redis_server.client("executor"))


def read(records: Records) -> Record:
    record = records.read(RUN)
    assert record is not None
    return record


WRITES: list[Callable[[Redis, str], object]] = [
    lambda thief, key: thief.hset(key, "definition", "{}"),
    lambda thief, key: thief.hset(key, mapping={"phase": "uploaded", "outcome": FORGED}),
    lambda thief, key: thief.hsetnx(key, "abort", "canceled"),
    lambda thief, key: thief.hdel(key, "definition", "phase", "owner"),
    lambda thief, key: thief.hincrby(key, "owner", 1),
    lambda thief, key: thief.set(key, "x"),
    lambda thief, key: thief.delete(key),
    lambda thief, key: thief.expire(key, 1),
]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("name", [keys.task, keys.run])
def test_what_is_run_and_how_it_ended_cannot_be_written(
    records: Records, thief: Redis, name: Callable[[str], str], write: Callable[[Redis, str], object]
) -> None:
    claim(records)
    before = read(records)
    with pytest.raises(NoPermissionError):
        write(thief, name(RUN.key))
    assert read(records) == before


@pytest.mark.parametrize("function", ["tw_claim", "tw_move", "tw_fanout", "tw_done", "tw_uploaded", "tw_end", "tw_resolved"])  # fmt: skip  # noqa: E501
def test_no_function_writes_it_in_its_stead(records: Records, thief: Redis, function: str) -> None:
    collecting(records)
    before, run, task = read(records), keys.run(RUN.key), keys.task(RUN.key)
    for name in (run, task):
        names = [name] * 8
        with pytest.raises(ResponseError):
            thief.fcall(function, len(names), *names, "me", "collecting", "0", "phase", "uploaded", "me", "x", "y")
    assert read(records) == before


def test_a_run_that_is_finished_is_not_begun_again(records: Records, thief: Redis) -> None:
    collecting(records)
    records.fan_out(RUN, "me", 0, COMPLETED)
    thief.hset(keys.upload(RUN.key), "phase", "claimed")
    assert read(records).phase == "uploaded"


def test_what_it_says_before_the_executor_is_done_counts_for_nothing(records: Records, thief: Redis) -> None:
    collecting(records)
    thief.hset(keys.upload(RUN.key), mapping={"phase": "uploaded", "outcome": FORGED})
    thief.rpush(keys.INBOX, RUN.key)
    assert (read(records).phase, read(records).outcome) == ("collecting", None)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_no_word_of_it_makes_a_failure_a_success(records: Records, thief: Redis, garbage: str | bytes) -> None:
    collecting(records)
    records.fan_out(RUN, "me", 0, failed("exit 1"))
    thief.hset(keys.upload(RUN.key), mapping={"phase": "uploaded", "outcome": garbage})
    assert (read(records).phase, read(records).outcome) == ("uploaded", failed("exit 1"))


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_cannot_be_read_of_its_words_spoils_the_run(records: Records, thief: Redis, garbage: str | bytes) -> None:
    collecting(records)
    records.fan_out(RUN, "me", 0, COMPLETED)
    thief.hset(keys.upload(RUN.key), "outcome", garbage)
    record = read(records)
    assert record.outcome is not None
    assert (record.phase, record.outcome.reason) == ("finishing", "internal-error")


@pytest.mark.parametrize("phase", ["", "resolved", b"\xff", "preparing"])
def test_a_phase_that_is_none_of_its_own_ends_the_run_as_an_error(
    records: Records, thief: Redis, phase: str | bytes
) -> None:
    collecting(records)
    records.fan_out(RUN, "me", 1, COMPLETED)
    thief.hset(keys.upload(RUN.key), "phase", phase)
    record = read(records)
    assert record.outcome is not None
    assert (record.phase, record.outcome.reason) == ("uploaded", "internal-error")


@pytest.mark.parametrize("spoil", [lambda thief, key: thief.delete(key), lambda thief, key: thief.set(key, "x")])
def test_so_does_a_key_that_is_gone_or_of_another_type(
    records: Records, thief: Redis, spoil: Callable[[Redis, str], object]
) -> None:
    collecting(records)
    records.fan_out(RUN, "me", 1, COMPLETED)
    spoil(thief, keys.upload(RUN.key))
    record = read(records)
    assert record.outcome is not None
    assert (record.phase, record.outcome.reason) == ("uploaded", "internal-error")


def test_keys_that_were_planted_do_not_stop_the_executor(
    records: Records, executor: Records, thief: Redis, redis: Redis
) -> None:
    for key in (keys.upload(RUN.key), keys.pending(RUN.key), "rq:queues"):
        thief.set(key, "in the way")
    claim(records)
    executor.move(RUN, ("claimed",), "collecting", "me")
    executor.fan_out(RUN, "me", 1, COMPLETED)
    assert (read(executor).phase, read(executor).outcome) == ("uploading", COMPLETED)
    assert redis.lrange(UPLOAD.key, 0, -1) == [Job.upload(RUN, 0).id.encode()]


def test_a_claim_that_is_in_the_way_of_none_is_recorded_anew(records: Records, redis: Redis) -> None:
    """An abort may come a moment after the record was forgotten."""
    records.abort(RUN, "canceled")
    assert claim(records)
    assert (read(records).abort, read(records).taken_until) == ("", UNTIL)


def test_the_first_fault_of_the_uploads_stands(records: Records, redis_server: RedisServer) -> None:
    collecting(records)
    uploader = Records(redis_server.client("uploader"))
    uploader.worsen(RUN, failed("an early one"))
    records.fan_out(RUN, "me", 0, COMPLETED)
    uploader.worsen(RUN, failed("a later one"))
    assert read(records).outcome == failed("an early one")


def test_what_the_executor_may_have_written_never_stops_the_reader(records: Records, redis: Redis) -> None:
    collecting(records)
    redis.hset(
        keys.run(RUN.key), mapping={"reference:a": b"\xff", "reference:b": "[1]", "outcome": "{", "owner": b"\xff"}
    )
    record = read(records)
    assert record.outcome is not None
    assert (record.outcome.reason, record.references) == ("internal-error", ())
