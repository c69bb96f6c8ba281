"""Tasks on a disk that can take few files: each file and directory needs an inode there."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.bench import Bench, JobProcess, shell
from simulators.redis import RedisServer
from taskward.core.connection import connect
from taskward.core.settings import ExecutorSettings
from taskward.executor.job import Executor
from taskward.executor.room import Need, Shortage
from taskward.executor.watch import AbortReasons

pytestmark = pytest.mark.root
INODES = 600
FILL = f"i=0; while [ $i -lt {INODES} ]; do : > f$i || break; i=$((i+1)); done 2>/dev/null; echo filled"


@pytest.fixture
def small(redis_server: RedisServer, state_dir: Path) -> Iterator[Bench]:
    """A bench whose disk has few inodes."""
    redis_server.flush()
    options = f"size=64m,nr_inodes={INODES},mode=711"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(state_dir)], check=True)
    try:
        with Bench(redis_server, state_dir) as bench:
            bench.configure("executor", min_free_disk_bytes=1 << 20, required_disk_space_bytes=1 << 20)
            yield bench
    finally:
        subprocess.run(["umount", str(state_dir)], check=True)


def free_inodes(bench: Bench) -> int:
    return os.statvfs(bench.state_dir).f_favail


def exhaust(bench: Bench) -> Path:
    """Files of somebody else, up to the last inode."""
    directory = bench.state_dir / "foreign"
    directory.mkdir()
    for number in range(free_inodes(bench)):
        (directory / str(number)).touch()
    assert free_inodes(bench) == 0
    return directory


@pytest.mark.parametrize("ends", ["; sleep 1000", "", "; exit 3"])
def test_a_task_that_takes_all_inodes_is_failed_and_loses_its_files(small: Bench, ends: str) -> None:
    before = free_inodes(small)
    result = small.run(shell(FILL + ends), artifacts=[{"type": "directory", "path": ".", "name": "public"}])

    assert (result.outcome.state, result.outcome.reason) == ("failed", "failed")
    assert result.output == ["filled"]
    if "exit" not in ends:
        assert "less than 60 inodes were left on the worker's disk ([executor] min_free_inodes)" in result.log
    assert result.entries == {}
    assert before - free_inodes(small) < 50, "the log, the outbox, and some directories of the worker"
    assert small.run(shell("echo next")).outcome.succeeded


def test_a_task_that_begins_while_another_has_taken_all_inodes_waits_for_them(small: Bench) -> None:
    filling = small.claim({"command": shell(FILL + "; sleep 1000"), "maxRunTime": 900})
    offender = small.start(filling)
    small.wait_until(lambda: free_inodes(small) == 0)
    other = small.claim({"command": shell("echo other"), "maxRunTime": 20})
    job = small.start(other)

    assert (offender.wait(), job.wait()) == (0, 0)
    assert small.result(filling).outcome.state == "failed"
    assert small.result(other).outcome.succeeded


def test_a_task_that_ends_while_another_has_taken_all_inodes_is_handed_over(small: Bench) -> None:
    other = small.claim({"command": shell("echo other; sleep 0.3"), "maxRunTime": 20})
    job = small.start(other)
    small.wait_for_line(other, "other")
    foreign = exhaust(small)
    time.sleep(0.5)
    subprocess.run(["rm", "-r", str(foreign)], check=True)

    assert job.wait() == 0
    assert small.result(other).record.phase == "finishing"
    assert small.result(other).outcome.state == "failed"


def test_caches_go_when_the_next_task_needs_their_inodes(small: Bench) -> None:
    cache = [{"cacheName": "big", "directory": "cache"}]
    scopes = ["generic-worker:cache:big"]
    script = "cd cache; seq 250 | xargs touch"
    run = small.run_payload({"command": shell(script), "mounts": cache, "maxRunTime": 20}, scopes=scopes)
    assert run.outcome.succeeded
    foreign = small.state_dir / "foreign"
    foreign.mkdir()
    for number in range(free_inodes(small) - 100):
        (foreign / str(number)).touch()

    assert small.run([["true"]]).outcome.succeeded
    assert free_inodes(small) > 300


def test_a_run_without_room_for_its_log_goes_back_to_the_queue(small: Bench) -> None:
    run = small.claim({"command": [["true"]], "maxRunTime": 20})
    small.layout.proofs.mkdir(parents=True, exist_ok=True)
    foreign = exhaust(small)
    (foreign / "0").unlink()  # for the proof of life
    address = small.server.address("executor")
    executor = Executor(small.settings, connect(address), AbortReasons(address), full_for_s=0.1)

    assert JobProcess(lambda: executor.execute(run.task_id, run.run_id)).wait() == 0
    record = small.records.read(run)

    assert record is not None
    assert record.phase == "uploaded"
    assert record.outcome is not None
    assert (record.outcome.state, record.outcome.reason) == ("exception", "intermittent-task")
    assert "no room for the task's log" in record.outcome.message


def test_what_must_be_free_is_a_part_of_all_inodes_at_most(small: Bench) -> None:
    assert Need(0, 10_000, share=4).shortage(small.state_dir) is None
    exhaust(small)
    assert Need(0, 10_000, share=4).shortage(small.state_dir) == Shortage("inodes", INODES // 4, 0)
    assert Need(0, 10, share=4).shortage(small.state_dir) == Shortage("inodes", 10, 0)
    assert Need(0, 0).shortage(small.state_dir) is None


def test_a_file_system_that_counts_no_inodes_never_lacks_them() -> None:
    assert os.statvfs("/proc").f_files == 0
    assert Need(0, 10_000).shortage(Path("/proc")) is None


def test_the_settings_say_what_must_be_free() -> None:
    settings = ExecutorSettings(required_inodes=5, min_free_inodes=3)
    assert (Need.before(settings).inodes, Need.always(settings).inodes) == (5, 3)
