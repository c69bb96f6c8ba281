"""The executor as it is deployed: its own process, RQ's job process below it, the reaper beside it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.bench import Bench, shell
from simulators.redis import RedisServer
from taskward.claimer.reaper import Reaper
from taskward.core.ids import RunId
from taskward.core.jobs import EXECUTE
from taskward.core.process import pid_here

TOML = """
[taskcluster]
root_url = "https://tc.example.com"
client_id = "worker"
access_token_file = "{state_dir}/token"
[worker]
task_queue_id = "proj-x/linux"
worker_group = "here"
worker_id = "w-1"
state_dir = "{state_dir}"
{more}
"""


class Deployed:
    """Starts executors on the bench's state directory."""

    def __init__(self, bench: Bench, server: RedisServer) -> None:
        self.bench = bench
        self._processes: list[subprocess.Popen[bytes]] = []
        self._config = bench.state_dir / "config.toml"
        self._config.write_text(TOML.format(state_dir=bench.state_dir, more=""))
        layout = bench.layout
        for path, target in (
            (layout.redis_socket, server.socket),
            (layout.redis_password("executor"), server.address("executor").password_file),
        ):
            path.parent.mkdir(parents=True)
            path.symlink_to(target)
        self._reaper = Reaper(server.linked("claimer"), {EXECUTE: layout.locks("execute")})

    def start(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "taskward.executor", "--config", str(self._config)]
        self._processes.append(subprocess.Popen(argv))
        return self._processes[-1]

    def sweep_until(self, run: RunId, phase: str) -> None:
        """The reaper at work until the run is there."""

        def there() -> bool:
            self._reaper.sweep()
            return self.bench.result(run).record.phase == phase

        self.bench.wait_until(there)

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(20)


@pytest.fixture
def deployed(bench: Bench, redis_server: RedisServer) -> Iterator[Deployed]:
    deployed = Deployed(bench, redis_server)
    yield deployed
    deployed.stop()


def test_a_claim_is_carried_out(bench: Bench, deployed: Deployed) -> None:
    deployed.start()
    run = bench.claim({"command": [["echo", "hello"]], "maxRunTime": 20})

    bench.wait_for_phase(run, "finishing")

    assert bench.result(run).output == ["hello"]
    assert bench.result(run).outcome.succeeded


def test_many_claims_are_carried_out_by_several_executors_each_once(bench: Bench, deployed: Deployed) -> None:
    for _ in range(3):
        deployed.start()
    runs = [bench.claim({"command": shell("id -u"), "maxRunTime": 20}) for _ in range(12)]

    for run in runs:
        bench.wait_for_phase(run, "finishing")

    outputs = [bench.result(run).output for run in runs]
    assert all(len(output) == 1 for output in outputs)
    if os.geteuid() == 0:
        assert len({output[0] for output in outputs}) == len(runs)


def test_sigterm_ends_the_run_and_then_the_process(bench: Bench, deployed: Deployed) -> None:
    process = deployed.start()
    run = bench.claim({"command": shell("echo go; sleep 1000"), "maxRunTime": 900})
    bench.wait_until(lambda: bench.has_log(run) and "go" in bench.result(run).output)

    process.terminate()

    assert process.wait(20) == 0
    assert bench.result(run).outcome.reason == "worker-shutdown"
    assert bench.result(run).record.phase == "finishing"


@pytest.mark.parametrize("victim", ["executor", "job process"])
def test_kill_9_ends_the_run_as_worker_shutdown_within_moments(bench: Bench, deployed: Deployed, victim: str) -> None:
    first, second = deployed.start(), deployed.start()
    run = bench.claim({"command": shell("echo go; sleep 1000"), "maxRunTime": 900})
    bench.wait_until(lambda: bench.has_log(run) and "go" in bench.result(run).output)
    job_process = pid_here(bench.result(run).record.owner) or 0
    parent = int(Path(f"/proc/{job_process}/stat").read_text().rpartition(")")[2].split()[1])
    assert parent in (first.pid, second.pid)

    began = time.monotonic()
    os.kill(parent if victim == "executor" else job_process, signal.SIGKILL)
    deployed.sweep_until(run, "finishing")

    assert time.monotonic() - began < 5
    assert bench.result(run).outcome.reason == "worker-shutdown"
    assert bench.result(run).output == ["go"]
    if victim == "executor":
        (first if parent == first.pid else second).wait(10)


def test_a_bad_configuration_is_told_and_ends_with_64(bench: Bench) -> None:
    config = bench.state_dir / "bad.toml"
    config.write_text(TOML.format(state_dir=bench.state_dir, more="capacty = 2"))

    done = subprocess.run(
        [sys.executable, "-m", "taskward.executor", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 64
    assert "did you mean capacity?" in done.stderr
