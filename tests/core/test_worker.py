"""Workers with the rights of their role, as real processes: what they run, what they refuse, how they die."""

import json
import os
import signal
import zlib
from pathlib import Path

import pytest
from redis import Redis

from core.workers import RUN, Workers, put
from simulators.patience import until
from simulators.redis import RedisServer
from taskward.claimer.inbox import WAIT_S
from taskward.claimer.reaper import Watch
from taskward.core.connection import ANSWERS_WITHIN_S, connect
from taskward.core.ids import RunId
from taskward.core.jobs import EXECUTE, Job, Queue
from taskward.core.locks import available, is_locked, visible
from taskward.core.process import start_time
from taskward.core.safejob import Registry
from taskward.core.worker import InProcessWorker


def plant(redis: Redis, queue: Queue, **fields: str | bytes) -> str:
    """A job as an intruder with write access would write it."""
    job = Job.execute(RUN)
    honest = job.fields()
    mapping: dict[str | bytes, str | bytes] = dict(zip(honest[::2], honest[1::2], strict=True))
    mapping.update(fields)
    redis.hset(job.key, mapping=mapping)  # type: ignore[arg-type]  # redis-py's stub knows str keys only
    redis.rpush(queue.key, job.id)
    return job.id


def message(function: str, arguments: object, instance: object = None, positional: object = ()) -> bytes:
    return zlib.compress(json.dumps([function, instance, list(positional), arguments]).encode())  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", ["fork", "simple"])
def test_a_listed_function_runs_with_the_rights_of_its_role(workers: Workers, redis: Redis, kind: str) -> None:
    workers.start(kind)
    put(redis, Job.execute(RUN))
    until(lambda: workers.done() == [f"start {RUN}", f"end {RUN}"])
    until(lambda: redis.zcard("rq:wip:execute") == 0)
    assert redis.zcard("rq:failed:execute") == 0


MARK = "/tmp/taskward-was-here"
HONEST = {"task_id": RUN.task_id, "run_id": RUN.run_id}


@pytest.mark.parametrize(
    "fields",
    [
        {"data": message("os.system", {"command": f"touch {MARK}"})},
        {"data": message("os.system", {}, positional=[f"touch {MARK}"])},
        {"data": message("system", {}, instance="os", positional=[f"touch {MARK}"])},
        {"data": message("execute", {**HONEST, "more": 1})},
        {"data": message("execute", {"task_id": RUN.task_id, "run_id": True})},
        {"data": message("execute", ["task_id"])},
        {"data": b"not compressed"},
        {"data": zlib.compress(b" " * 200_000_000)},
        {"data": zlib.compress(b'{"a": 1}')},
        {"success_callback_name": "os.getpid", "success_callback_timeout": "5"},
        {"failure_callback_name": "os.getpid", "failure_callback_timeout": "5"},
        {"stopped_callback_name": "os.getpid"},
        {"webhooks": '[{"url": "http://127.0.0.1:9/", "events": ["finished"]}]'},
        {"meta": b"\x80\x04cos\nsystem\n"},
        {"origin": "upload"},
        {"dependency_ids": '["x"]'},
    ],
    ids=lambda fields: ",".join(fields),
)
def test_a_planted_job_is_refused_and_ends_as_failed(
    workers: Workers, redis: Redis, fields: dict[str, str | bytes]
) -> None:
    workers.start("fork")
    planted = plant(redis, EXECUTE, retries_left="0", **fields)
    until(lambda: redis.zscore("rq:failed:execute", planted) is not None)
    assert workers.done() == []
    assert not Path(MARK).exists()


def test_after_a_planted_job_the_worker_goes_on(workers: Workers, redis: Redis) -> None:
    worker = workers.start("fork")
    plant(redis, EXECUTE, data=message("os.system", {}), retries_left="0")
    other = RunId(RUN.task_id, 1)
    put(redis, Job.execute(other))
    until(lambda: f"end {other}" in workers.done())
    assert worker.poll() is None


def test_a_death_between_two_looks_is_told_at_once(workers: Workers) -> None:
    first = workers.start("fork")
    watch = Watch([workers.locks("execute")])
    assert not watch.wait(0)
    first.kill()
    first.wait()
    assert watch.wait(0)
    assert not watch.wait(0)


def test_a_killed_worker_takes_its_job_process_with_it_and_another_takes_over(workers: Workers, redis: Redis) -> None:
    first = workers.start("fork")
    workers.hold()
    put(redis, Job.execute(RUN))
    until(lambda: workers.done() == [f"start {RUN}"])
    horse = workers.pids()[0]
    watch, reaper = Watch([workers.locks("execute")]), workers.reaper()
    assert not watch.wait(0)
    first.kill()
    assert watch.wait(5), "the pidfd must tell"
    workers.start("fork")

    def requeued() -> bool:
        reaper.sweep()
        return len(workers.done()) == 2

    until(requeued, within_s=2)
    assert start_time(horse) is None


def test_an_in_process_worker_that_is_killed_gives_its_job_back(workers: Workers, redis: Redis) -> None:
    first = workers.start("simple", "uploader")
    workers.hold()
    put(redis, Job.upload(RUN, 0))
    until(lambda: workers.done() == [f"start {RUN}"])
    first.kill()
    first.wait()
    workers.hold(False)
    workers.reaper().sweep()
    workers.start("simple", "uploader")
    until(lambda: workers.done() == [f"start {RUN}", f"start {RUN}", f"end {RUN}"])


def test_a_living_worker_keeps_its_job_however_often_the_reaper_looks(workers: Workers, redis: Redis) -> None:
    workers.start("fork")
    workers.hold()
    put(redis, Job.execute(RUN))
    until(lambda: workers.done() == [f"start {RUN}"])
    reaper = workers.reaper()
    for _ in range(50):
        reaper.sweep()
    assert redis.llen(EXECUTE.key) == 0
    workers.hold(False)
    until(lambda: workers.done() == [f"start {RUN}", f"end {RUN}"])


def test_a_job_process_killed_alone_is_tried_again(workers: Workers, redis: Redis) -> None:
    workers.start("fork")
    workers.hold()
    put(redis, Job.execute(RUN))
    until(lambda: workers.done() == [f"start {RUN}"])
    watch, reaper = Watch([workers.locks("execute")]), workers.reaper()
    watch.wait(0)
    os.kill(workers.pids()[0], signal.SIGKILL)
    assert watch.wait(5), "the pidfd must tell"
    workers.hold(False)

    def again() -> bool:
        reaper.sweep()
        return workers.done() == [f"start {RUN}", f"start {RUN}", f"end {RUN}"]

    until(again, within_s=5)


def test_a_job_that_keeps_killing_its_worker_is_given_up(workers: Workers, redis: Redis) -> None:
    from taskward.claimer.reaper import MAX_REQUEUES

    put(redis, Job.execute(RUN))
    reaper = workers.reaper()
    for _ in range(MAX_REQUEUES + 1):
        redis.lpop(EXECUTE.key)
        redis.zadd("rq:wip:execute", {f"x-{RUN.directory}:e": 9e9})
        reaper.sweep()
    assert redis.llen(EXECUTE.key) == 0
    assert redis.hget(Job.execute(RUN).key, "status") == b"failed"


def test_a_worker_survives_a_redis_that_is_killed_in_mid_job(
    workers: Workers, redis_server: RedisServer, redis: Redis
) -> None:
    worker = workers.start("fork")
    workers.hold()
    put(redis, Job.execute(RUN))
    until(lambda: workers.done() == [f"start {RUN}"])
    redis_server.restart()
    workers.hold(False)
    until(lambda: workers.done() == [f"start {RUN}", f"end {RUN}"])
    until(lambda: redis.zcard("rq:wip:execute") == 0)
    other = RunId(RUN.task_id, 1)
    put(redis, Job.execute(other))
    until(lambda: f"end {other}" in workers.done())
    assert worker.poll() is None


def test_a_worker_told_to_stop_finishes_its_job_and_is_no_longer_counted(workers: Workers, redis: Redis) -> None:
    worker = workers.start("simple")
    workers.hold()
    put(redis, Job.execute(RUN))
    until(lambda: workers.done() == [f"start {RUN}"])
    worker.terminate()
    until(lambda: available(workers.locks("execute")) == 0)
    assert [is_locked(path) for path in visible(workers.locks("execute"))] == [True]
    workers.hold(False)
    assert worker.wait(10) == 0
    assert visible(workers.locks("execute")) == []


def test_waiting_for_a_job_ends_before_the_client_takes_the_server_for_dead(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Else an idle worker connects anew all the time, and never comes to what it does between jobs."""
    worker = InProcessWorker("executor", Registry("execute"), connect(redis_server.address("executor")), tmp_path)
    assert worker.dequeue_timeout <= ANSWERS_WITHIN_S / 2
    assert WAIT_S <= ANSWERS_WITHIN_S / 2


def test_an_idle_worker_stops_at_once(workers: Workers) -> None:
    worker = workers.start("fork")
    worker.terminate()
    assert worker.wait(3) == 0


@pytest.mark.parametrize("kind", ["fork", "simple"])
def test_a_worker_stops_while_redis_is_away(workers: Workers, redis_server: RedisServer, kind: str) -> None:
    worker = workers.start(kind)
    redis_server.kill()
    worker.terminate()
    assert worker.wait(5) == 0
    redis_server.start()
