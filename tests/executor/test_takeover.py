"""A job process is killed in each phase; another takes the run over, as after a requeue by the reaper."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from executor.bench import Bench, JobProcess, shell
from taskward.core.ids import RunId
from taskward.core.outbox import Index
from taskward.core.outcome import COMPLETED
from taskward.core.record import Records
from taskward.executor import collect
from taskward.executor.collect import move_all
from taskward.executor.native import NativeEngine
from taskward.executor.plan import Plan
from taskward.executor.reader import Reader


def test_a_run_whose_process_was_killed_is_not_run_again(bench: Bench) -> None:
    run = bench.claim(
        {
            "command": shell("echo go; (setsid sleep 1000 &); echo x > f; sleep 1000"),
            "maxRunTime": 900,
            "features": {"taskclusterProxy": True, "chainOfTrust": True},
            "artifacts": [{"type": "file", "path": "f"}],
        }
    )
    first = bench.start(run)
    bench.wait_until(lambda: bench.has_log(run) and "go" in bench.result(run).output)
    uid = bench.uid_of(run)
    first.kill()

    assert bench.start(run).wait() == 0

    result = bench.result(run)
    assert (result.outcome.state, result.outcome.reason) == ("exception", "worker-shutdown")
    assert result.output == ["go"]
    assert "died while the run was in phase 'running'" in result.log
    assert result.index.backing_log_name == "public/logs/live_backing.log"
    assert result.index.live_log_name == "public/logs/live.log"
    assert result.index.entries == ()
    assert result.record.phase == "finishing"
    if os.geteuid() == 0:
        assert not bench.processes_of(uid)
    assert not bench.layout.task_directory(run).exists()
    assert not bench.redis.keys("tw:peer:*")


def test_a_run_whose_owner_lives_is_left_alone(bench: Bench) -> None:
    run = bench.claim({"command": [["sleep", "1000"]], "maxRunTime": 900})
    first = bench.start(run)
    bench.wait_for_line(run, "Executing command 0")

    assert bench.start(run).wait() == 1

    assert bench.result(run).record.phase == "running"
    bench.records.abort(run, "canceled")
    assert first.wait() == 0


@pytest.mark.parametrize("phase", ["uploading", "finishing", "uploaded", "resolving"])
def test_a_run_that_is_further_already_is_left_alone(bench: Bench, phase: str) -> None:
    run = bench.claim({"command": [["true"]], "maxRunTime": 900})
    bench.records.move(run, ("claimed",), "collecting", "1-1-1")
    bench.records.fan_out(run, "1-1-1", int(phase == "uploading"), COMPLETED)
    if phase in ("uploaded", "resolving"):
        assert bench.records.uploaded(run)
    if phase == "resolving":
        bench.records.move(run, ("uploading",), "resolving", "")

    assert bench.start(run).wait() == 0
    assert bench.result(run).record.phase == phase


def test_an_unknown_run_is_nothing_to_do(bench: Bench) -> None:
    assert bench.start(RunId("AAAAAAAAQAaAAAAAAAAAAA", 0)).wait() == 0


def test_a_run_that_died_in_preparing_is_ended_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bench.claim({"command": [["echo", "never"]], "maxRunTime": 900})
    with monkeypatch.context() as patch:
        patch.setattr(NativeEngine, "prepare", _die)
        assert bench.start(run).wait() == -9
    assert bench.result(run).record.phase == "preparing"

    assert bench.start(run).wait() == 0

    result = bench.result(run)
    assert result.outcome.reason == "worker-shutdown"
    assert result.output == []


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(lambda patch: patch.setattr(collect, "save_plan", _die), id="before the plan"),
        pytest.param(lambda patch: patch.setattr(collect, "move_all", _die), id="before the first move"),
        pytest.param(lambda patch: patch.setattr(collect, "move_all", _move_one), id="amid the moves"),
        pytest.param(lambda patch: patch.setattr(Index, "write", _die), id="before the index"),
        pytest.param(lambda patch: patch.setattr(Records, "fan_out", _die), id="before the hand-over"),
    ],
)
def test_collecting_is_done_again_by_the_next_process(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, where: Callable[[pytest.MonkeyPatch], None]
) -> None:
    run = bench.claim(
        {
            "command": shell("mkdir d; for i in $(seq 5); do echo $i > d/$i; done; ln d/1 d/again"),
            "maxRunTime": 900,
            "features": {"chainOfTrust": True},
            "artifacts": [{"type": "directory", "path": "d", "name": "public/d"}],
        }
    )
    with monkeypatch.context() as patch:
        where(patch)
        assert bench.start(run).wait() == -9
    assert bench.result(run).record.phase == "collecting"

    assert bench.start(run).wait() == 0

    result = bench.result(run)
    assert result.outcome.succeeded
    assert {name for name in result.entries if "/d/" in name} == {f"public/d/{i}" for i in (1, 2, 3, 4, 5, "again")}
    assert [result.content(f"public/d/{i}") for i in range(1, 6)] == [b"%d\n" % i for i in range(1, 6)]
    assert result.content("public/d/again") == b"1\n"
    assert result.entries["public/logs/certified.log"].size_bytes > 0


def test_a_failed_run_that_died_in_collecting_stays_failed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bench.claim({"command": [["false"]], "maxRunTime": 900})
    with monkeypatch.context() as patch:
        patch.setattr(Records, "fan_out", _die)
        assert bench.start(run).wait() == -9

    assert bench.start(run).wait() == 0
    assert bench.result(run).outcome.state == "failed"


def test_an_artifact_that_was_missing_before_the_crash_fails_the_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.claim(
        {
            "command": shell("echo x > b"),
            "maxRunTime": 900,
            "artifacts": [{"type": "file", "path": path, "name": f"public/{path}"} for path in ("a", "b")],
        }
    )
    with monkeypatch.context() as patch:
        patch.setattr(collect, "move_all", _die)
        assert bench.start(run).wait() == -9

    assert bench.start(run).wait() == 0

    result = bench.result(run)
    assert result.outcome.state == "failed"
    assert result.entries["public/a"].reason == "file-missing-on-worker"
    assert result.content("public/b") == b"x\n"


def test_two_processes_with_one_job_run_the_task_once(bench: Bench, tmp_path: Path) -> None:
    run = bench.claim({"command": shell("echo once"), "maxRunTime": 900})

    jobs: list[JobProcess] = [bench.start(run) for _ in range(3)]
    for job in jobs:
        job.wait()

    assert bench.result(run).output == ["once"]
    assert bench.result(run).outcome.succeeded


def _die(*_unused: object, **_more: object) -> None:
    os.kill(os.getpid(), 9)


def _move_one(plan: Plan, reader: Reader, outbox: Path, uid: int, *, copy: bool = False) -> None:
    file, source = next(iter(plan.sources.items()))
    plan.sources.clear()
    plan.sources[file] = source
    move_all(plan, reader, outbox, uid, copy=copy)
    _die()
