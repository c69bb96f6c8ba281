"""What crashes leave behind goes at the next occasion; what belongs to living runs stays."""

import os
import time
from pathlib import Path

import pytest

from executor.bench import Bench, shell
from taskward.core.ids import RunId
from taskward.executor import account, cgroup
from taskward.executor.sweep import Sweep
from taskward.executor.tasklog import TaskLog


def sweep(bench: Bench, keep_logs_s: float = 60) -> None:
    Sweep(bench.settings, bench.records, keep_logs_s).run()


def test_a_run_leaves_only_its_outbox_and_its_log(bench: Bench) -> None:
    result = bench.run(shell("mkdir d; echo > d/f"), artifacts=[{"type": "directory", "path": "d"}])

    assert not bench.layout.task_directory(result.record.run).exists()
    assert result.outbox.exists()
    assert [*Path("/sys/fs/cgroup").glob(f"**/{cgroup.parent_name(bench.state_dir)}")] == []
    assert account.below(bench.layout.tasks) == []


def test_after_a_crash_of_everything_nothing_is_left(bench: Bench) -> None:
    run = bench.claim({"command": shell("(setsid sleep 1000 &); mkdir d; echo go; sleep 1000"), "maxRunTime": 900})
    job = bench.start(run)
    bench.wait_until(lambda: bench.has_log(run) and "go" in bench.result(run).output)
    uid = bench.uid_of(run)
    job.kill()
    bench.records.resolved(run)

    sweep(bench, keep_logs_s=0)

    assert [*bench.layout.tasks.iterdir(), *bench.layout.logs.iterdir()] == []
    assert cgroup.names(bench.state_dir) == set()
    if os.geteuid() == 0:
        assert bench.processes_of(uid) == set()
        assert account.below(bench.layout.tasks) == []


def test_a_living_run_is_left_alone(bench: Bench) -> None:
    run = bench.claim({"command": shell("echo > f; echo go; sleep 1; cat f && echo still"), "maxRunTime": 900})
    job = bench.start(run)
    bench.wait_until(lambda: bench.has_log(run) and "go" in bench.result(run).output)

    sweep(bench, keep_logs_s=0)

    assert job.wait() == 0
    assert "still" in bench.result(run).output


def test_logs_go_at_once_when_the_next_task_needs_their_room(bench: Bench) -> None:
    over, uploading = bench.run([["true"]]).record.run, bench.run([["true"]]).record.run
    bench.records.resolved(over)
    bench.configure("executor", required_disk_space_bytes=1 << 62)

    result = bench.run([["true"]])

    assert "not able to free up enough disk space" in result.log
    assert (bench.has_log(over), bench.has_log(uploading)) == (False, True)


def test_logs_stay_for_their_readers_for_a_while(bench: Bench) -> None:
    result = bench.run([["true"]])
    bench.records.resolved(result.record.run)

    sweep(bench)
    assert result.log_directory.exists()
    assert not result.outbox.exists()

    old = time.time() - 61
    os.utime(result.log_directory / "live.log", (old, old))
    sweep(bench)
    assert not result.log_directory.exists()


def test_a_log_that_is_still_protected_can_be_removed(bench: Bench) -> None:
    directory = bench.layout.log_directory(RunId("AAAAAAAAQAaAAAAAAAAAAA", 0))
    log = TaskLog.open(directory)
    log.protect()
    log.close()

    sweep(bench, keep_logs_s=0)

    assert not directory.exists()


def test_what_is_not_ours_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    for parent in (bench.layout.tasks, bench.layout.logs, bench.state_dir / "outbox"):
        (parent / "lost+found").mkdir(parents=True)

    sweep(bench, keep_logs_s=0)

    assert (bench.layout.tasks / "lost+found").is_dir()
    assert (bench.layout.logs / "lost+found").is_dir()


@pytest.mark.root
def test_a_user_without_a_directory_is_found_by_its_home(bench: Bench) -> None:
    run = RunId("AAAAAAAAQAaAAAAAAAAAAA", 3)
    made = account.create(run, bench.layout.task_directory(run), bench.state_dir / "locks" / "accounts")
    assert made.name == "task_AAAAAAAAQAaAA_3"
    assert made.uid == made.gid

    sweep(bench)

    assert account.below(bench.layout.tasks) == []


@pytest.mark.root
def test_what_a_task_leaves_in_shared_directories_goes_with_it(bench: Bench) -> None:
    result = bench.run(
        shell("d=$(mktemp -d); echo > $d/f; ln -s /etc $d/link; f=$(mktemp -p /dev/shm); echo $d; echo $f")
    )

    assert [Path(path).exists() for path in result.output] == [False, False]
    assert Path("/etc/passwd").exists()


def test_on_a_full_disk_tasks_of_dead_processes_go_before_redis_is_asked(bench: Bench) -> None:
    run = bench.claim({"command": shell("echo x > f; echo begun; sleep 1000"), "maxRunTime": 900})
    job = bench.start(run)
    bench.wait_until(lambda: bench.has_log(run) and "begun" in bench.result(run).output)
    bench.configure("executor", min_free_disk_bytes=1 << 60)
    sweep = Sweep(bench.settings, bench.records)
    home = bench.layout.task_directory(run)

    sweep.relieve()
    assert home.exists()
    job.kill()
    bench.server.kill()
    sweep.relieve()
    bench.server.start()

    assert not home.exists()


def test_on_a_full_disk_logs_of_dead_processes_are_cut_before_redis_is_asked(bench: Bench) -> None:
    run = bench.claim({"command": shell("head -c 3000000 /dev/zero; echo; echo begun; sleep 1000"), "maxRunTime": 900})
    job = bench.start(run)
    bench.wait_until(lambda: bench.has_log(run) and "begun" in bench.result(run).output)
    bench.configure("executor", min_free_disk_bytes=1 << 60)
    log = bench.layout.log_directory(run) / "live.log"
    job.kill()

    Sweep(bench.settings, bench.records).relieve()

    assert log.stat().st_size == 1 << 20
