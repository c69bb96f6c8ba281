import os
import re
import shutil
import signal
import time
from typing import Any

import pytest

from executor.bench import Bench, JobProcess, shell

SLEEP: dict[str, Any] = {"command": [["sleep", "1000"]], "maxRunTime": 900}


def test_max_run_time_fails_the_task(bench: Bench) -> None:
    began = time.monotonic()
    result = bench.run(shell("trap '' TERM INT; sleep 1000"), maxRunTime=1)

    assert time.monotonic() - began < 6
    assert (result.outcome.state, result.outcome.message) == ("failed", "task aborted - max run time exceeded")
    assert "[taskcluster:error] Aborting task..." in result.log
    assert re.search(r"\n\[taskcluster 20\S+Z\] Command ABORTED after \S+s: process aborted\n", result.log)


@pytest.mark.parametrize("reason", ["canceled", "deadline-exceeded", "claim-expired"])
def test_what_the_queue_has_decided_is_not_reported(bench: Bench, reason: str) -> None:
    run = bench.claim(SLEEP)
    job = bench.start(run)
    bench.wait_for_line(run, "Executing command 0")

    bench.records.abort(run, reason)
    began = time.monotonic()

    assert job.wait() == 0
    assert time.monotonic() - began < 3
    outcome = bench.result(run).outcome
    assert (outcome.reason, outcome.unreported) == (reason, True)


def test_sigterm_ends_the_run_as_worker_shutdown_with_its_artifacts(bench: Bench) -> None:
    payload = {**SLEEP, "command": shell("echo x > f; echo go; sleep 1000")}
    payload["artifacts"] = [{"type": "file", "path": "f", "name": "public/f"}]
    run = bench.claim(payload)
    job = bench.start(run)
    bench.wait_until(lambda: "go" in bench.result(run).output if bench.has_log(run) else False)

    job.terminate()

    assert job.wait() == 0
    result = bench.result(run)
    assert (result.outcome.state, result.outcome.reason) == ("exception", "worker-shutdown")
    assert result.content("public/f") == b"x\n"


def test_an_abort_before_the_first_command_runs_nothing(bench: Bench) -> None:
    run = bench.claim({**SLEEP, "command": [["echo", "never"]]})
    bench.records.abort(run, "canceled")

    assert bench.start(run).wait() == 0
    assert bench.result(run).output == []


def test_a_log_beyond_its_limit_fails_the_task(bench: Bench) -> None:
    bench.configure("executor", max_log_bytes=100_000)

    result = bench.run([["yes"]])

    assert result.outcome.state == "failed"
    assert "its log is larger than 100000 bytes" in result.log


@pytest.mark.parametrize("exit_code", [0, 3])
def test_a_log_that_a_task_makes_huge_at_its_very_end_is_cut(bench: Bench, exit_code: int) -> None:
    """Append-only stops nobody from adding a hole; to pack it would keep all others waiting for hours."""
    bench.configure("executor", max_log_bytes=100_000)
    deed = "import ctypes; ctypes.CDLL(None).fallocate(1, 0, ctypes.c_long(1 << 40), ctypes.c_long(1))"
    features = {"chainOfTrust": True}

    result = bench.run(shell(f"echo begun; python3 -c '{deed}'; exit {exit_code}"), features=features)

    assert result.outcome.state == "failed"
    assert result.log_bytes.count(b"\0") < 100_000
    assert len(result.log_bytes) < 200_000
    assert "begun" in result.log
    assert "[taskcluster:warn" in result.log.partition("the log was longer than the 100000 bytes")[0]
    assert ("its log is larger than 100000 bytes" in result.log) == (exit_code == 0), "else the first reason stays"
    assert len(result.content("public/logs/certified.log")) <= 200_000


def test_a_task_that_fills_the_disk_is_ended_and_loses_its_files(bench: Bench) -> None:
    artifact = {"type": "file", "path": "f", "name": "public/f"}
    bench.configure("executor", min_free_disk_bytes=1 << 60, required_disk_space_bytes=0)
    result = bench.run(shell("echo x > f; sleep 1000"), artifacts=[artifact])

    assert (result.outcome.state, result.outcome.reason) == ("failed", "failed")
    assert "bytes were left on the worker's disk ([executor] min_free_disk_bytes)" in result.log
    assert result.entries == {}
    assert not bench.layout.task_directory(result.record.run).exists()


def test_of_a_log_that_has_filled_the_disk_the_beginning_stays(bench: Bench) -> None:
    enough = shutil.disk_usage(bench.state_dir).free - (2 << 30)
    bench.configure("executor", min_free_disk_bytes=enough, required_disk_space_bytes=0, max_log_bytes=0)
    fill = 'python3 -c "import os; os.posix_fallocate(1, 0, 5 << 30)"'
    result = bench.run(shell(f"echo beginning; {fill}; sleep 1000"))

    assert result.outcome.state == "failed"
    assert "beginning" in result.log
    assert "only the first 1048576 bytes of the log are left, for lack of room" in result.log
    assert len(result.log_bytes) < (1 << 20) + 2000


def test_a_redis_that_is_away_does_not_disturb_the_task(bench: Bench) -> None:
    run = bench.claim({"command": shell("echo go; sleep 2; echo end"), "maxRunTime": 20})
    job = bench.start(run)
    bench.wait_until(lambda: bench.has_log(run) and "go" in bench.result(run).output)

    bench.server.kill()
    time.sleep(1)  # the task goes on meanwhile, and the job looks for Redis in vain
    bench.server.start()

    assert job.wait() == 0
    result = bench.result(run)
    assert result.outcome.succeeded
    assert result.output == ["go", "end"]


def test_sigterm_that_came_before_the_job_was_ready_counts(bench: Bench) -> None:
    run = bench.claim({**SLEEP, "command": [["echo", "never"]]})

    def told_early() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        os.kill(os.getpid(), signal.SIGTERM)
        bench.execute(run)

    assert JobProcess(told_early).wait() == 0
    assert bench.result(run).outcome.reason == "worker-shutdown"
    assert bench.result(run).output == []
