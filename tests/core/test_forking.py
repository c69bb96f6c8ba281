"""A worker that forks: several jobs at once, errands beside them, signals, deaths of one of many."""

import os
import signal
from pathlib import Path

from redis import Redis

from core.workers import RUN, Workers, put
from simulators.patience import until
from taskward.claimer.reaper import Watch
from taskward.core.children import Children, aside
from taskward.core.ids import RunId
from taskward.core.jobs import EXECUTE, Job
from taskward.core.locks import available, is_locked, visible
from taskward.core.process import start_time

RUNS = [RunId(RUN.task_id, number) for number in range(4)]


def begun(workers: Workers) -> list[str]:
    return [line for line, _ in workers.said("start")]


def test_as_many_jobs_as_slots_run_at_once_and_the_others_wait_in_the_queue(workers: Workers, redis: Redis) -> None:
    workers.start("fork", slots=3)
    workers.hold()
    for run in RUNS:
        put(redis, Job.execute(run))
    until(lambda: len(begun(workers)) == 3)
    assert redis.llen(EXECUTE.key) == 1
    assert len({pid for _, pid in workers.said("start")}) == 3
    workers.hold(False)
    until(lambda: len(workers.said("end")) == 4)
    assert sorted(begun(workers)) == [f"start {run}" for run in RUNS]


def test_slots_are_counted_and_jobs_are_not(workers: Workers, redis: Redis) -> None:
    worker = workers.start("fork", slots=3)
    assert available(workers.locks("execute")) == 3
    workers.hold()
    put(redis, Job.execute(RUN))
    until(lambda: begun(workers))
    until(lambda: len(visible(workers.locks("execute"))) == 4)
    assert available(workers.locks("execute")) == 3
    worker.terminate()
    until(lambda: available(workers.locks("execute")) == 0)
    assert all(is_locked(path) for path in visible(workers.locks("execute")))


def test_a_job_that_dies_is_given_back_while_its_neighbour_goes_on(workers: Workers, redis: Redis) -> None:
    worker = workers.start("fork", slots=2)
    workers.hold()
    for run in RUNS[:2]:
        put(redis, Job.execute(run))
    until(lambda: len(begun(workers)) == 2)
    (victim, pid), (other, _) = workers.said("start")
    watch, reaper = Watch([workers.locks("execute")]), workers.reaper()
    watch.wait(0)
    os.kill(pid, signal.SIGKILL)
    assert watch.wait(5), "the pidfd must tell"

    def again() -> bool:
        reaper.sweep()
        return begun(workers).count(victim) == 2

    until(again, within_s=2)
    assert begun(workers).count(other) == 1
    assert worker.poll() is None
    until(lambda: workers.said("idle"))
    until(lambda: all(is_locked(path) for path in visible(workers.locks("execute"))))


def test_all_jobs_die_with_their_worker(workers: Workers, redis: Redis) -> None:
    worker = workers.start("fork", slots=2)
    workers.hold()
    for run in RUNS[:2]:
        put(redis, Job.execute(run))
    until(lambda: len(begun(workers)) == 2)
    worker.kill()
    until(lambda: [start_time(pid) for _, pid in workers.said("start")] == [None, None], within_s=2)


def test_a_worker_told_to_stop_waits_for_all_its_jobs(workers: Workers, redis: Redis) -> None:
    worker = workers.start("fork", slots=2)
    workers.hold()
    for run in RUNS[:3]:
        put(redis, Job.execute(run))
    until(lambda: len(begun(workers)) == 2)
    worker.terminate()
    until(lambda: available(workers.locks("execute")) == 0)
    assert worker.poll() is None
    workers.hold(False)
    assert worker.wait(10) == 0
    assert len(workers.said("end")) == 2
    assert redis.llen(EXECUTE.key) == 1
    assert visible(workers.locks("execute")) == []


def test_errands_are_done_while_a_job_runs_and_by_other_processes(workers: Workers, redis: Redis) -> None:
    worker = workers.start("fork", slots=2)
    workers.hold()
    put(redis, Job.execute(RUN))
    until(lambda: workers.said("errand"), within_s=15)
    ((_, job),) = workers.said("start")
    name, errand = workers.said("errand")[0]
    assert name == "errand 0"
    assert errand not in (worker.pid, job)


def test_no_job_is_left_as_a_zombie(workers: Workers, redis: Redis) -> None:
    workers.start("fork", slots=2)
    put(redis, Job.execute(RUN))
    until(lambda: workers.said("end"))
    ((_, pid),) = workers.said("end")
    until(lambda: not Path(f"/proc/{pid}").exists(), within_s=2)


def test_what_is_done_aside_leaves_nothing_here(tmp_path: Path) -> None:
    here: list[int] = []

    def work() -> None:
        here.append(1)
        (tmp_path / "done").write_text(str(os.getpid()))

    before = signal.getsignal(signal.SIGCHLD)
    try:
        aside(work)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert here == []
    assert int((tmp_path / "done").read_text()) != os.getpid()


def test_children_tell_how_they_ended() -> None:
    before = signal.getsignal(signal.SIGCHLD)

    def fail() -> None:
        raise ValueError("as it happens")

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    try:
        children = Children()
        for number, work in enumerate((lambda: None, fail, die)):
            children.begin(work, number)
        children.wait(lambda: not children.numbers())
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert sorted(children.ended()) == [(0, 0), (1, 1), (2, -signal.SIGKILL)]
    assert children.ended() == []
