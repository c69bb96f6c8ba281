"""The claimer as a process: killed, restarted, told to stop."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.patience import until
from taskward.core.ids import RunId
from taskward.core.outcome import COMPLETED

from .conftest import Rig


class Claimer:
    """Starts and ends claimers with one configuration, and plays an executor that is there but does nothing."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.started = rig, list[subprocess.Popen[bytes]]()
        state, address = rig.worker.state_dir, rig.server.address("claimer")
        (state / "token").write_text(rig.cluster.access_token)
        (state / "run/redis").mkdir(parents=True)
        (state / "run/redis/redis.sock").symlink_to(address.socket)
        (state / "secrets/claimer").mkdir(parents=True)
        (state / "secrets/claimer/redis-password").write_text(address.password_file.read_text())
        self.config = state / "taskward.toml"
        self.config.write_text(
            f'[taskcluster]\nroot_url = "{rig.cluster.root_url}"\nclient_id = "root"\n'
            f'access_token_file = "{state}/token"\n[worker]\ntask_queue_id = "{rig.worker.task_queue_id}"\n'
            f'worker_group = "group"\nworker_id = "worker"\nstate_dir = "{state}"\ncapacity = 2\ngrace_s = 5\n'
            "[claimer]\nstatus_poll_s = 0.5\n"
        )
        self.log = state / "claimer.log"
        self.locks: list[int] = []
        self.executor_comes()

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "taskward.claimer", "--config", str(self.config)], stderr=log
            )
        self.started.append(process)
        return process

    def executor_comes(self) -> None:
        name = f"executor-{len(self.locks) + 1}-1"
        self.locks.append(os.open(self.rig.layout.locks("execute") / name, os.O_RDWR | os.O_CREAT))
        fcntl.flock(self.locks[-1], fcntl.LOCK_EX)

    def executor_leaves(self) -> None:
        os.pwrite(self.locks[-1], b"stopping", 0)

    def end(self) -> None:
        for lock in self.locks:
            os.close(lock)
        for process in self.started:
            process.kill()
            process.wait()


@pytest.fixture
def claimer(rig: Rig) -> Iterator[Claimer]:
    claimer = Claimer(rig)
    yield claimer
    claimer.end()


def test_from_pending_to_resolved(rig: Rig, claimer: Claimer) -> None:
    claimer.start()
    task_id = rig.create()
    until(lambda: len(rig.records.active()) == 1)
    (run,) = rig.records.active()
    assert run.task_id == task_id
    rig.uploaded(run, COMPLETED)
    until(lambda: rig.status(run)["state"] == "completed")


def test_a_killed_claimer_resolves_in_its_next_life(rig: Rig, claimer: Claimer) -> None:
    first = claimer.start()
    rig.create()
    until(lambda: len(rig.records.active()) == 1)
    first.kill()
    (run,) = rig.records.active()
    rig.uploaded(run, COMPLETED)
    rig.everyone._redis.delete("tw:inbox")
    claimer.start()
    until(lambda: rig.status(run)["state"] == "completed")


def test_a_canceled_task_is_noticed_within_a_poll(rig: Rig, claimer: Claimer) -> None:
    claimer.start()
    task_id = rig.create()
    until(lambda: len(rig.records.active()) == 1)
    (run,) = rig.records.active()
    rig.queue().cancelTask(task_id)
    until(lambda: rig.records.abort_reason(run) == "canceled", within_s=3)


def test_at_shutdown_a_run_that_nobody_will_start_goes_back_at_once(rig: Rig, claimer: Claimer) -> None:
    process = claimer.start()
    rig.create()
    until(lambda: len(rig.records.active()) == 1)
    (run,) = rig.records.active()
    claimer.executor_leaves()
    process.terminate()
    assert process.wait(10) == 0
    assert rig.status(run)["reasonResolved"] == "worker-shutdown"


def test_at_shutdown_a_run_under_way_is_waited_for_and_no_other_claimed(rig: Rig, claimer: Claimer) -> None:
    process = claimer.start()
    rig.create()
    until(lambda: len(rig.records.active()) == 1)
    (run,) = rig.records.active()
    rig.everyone.move(run, ("claimed",), "preparing", "")
    process.terminate()
    until(lambda: "no more claims" in claimer.log.read_text())
    other = rig.create()
    claimer.executor_comes()
    assert process.poll() is None
    rig.uploaded(run, COMPLETED)
    assert process.wait(10) == 0
    assert rig.status(run)["state"] == "completed"
    assert rig.status(RunId(other, 0))["state"] == "pending"


def test_a_wrong_configuration_is_named_and_ends_with_64(rig: Rig, claimer: Claimer, tmp_path: Path) -> None:
    claimer.config.write_text(claimer.config.read_text().replace("capacity", "capacty"))
    words = [sys.executable, "-m", "taskward.claimer", "--config", str(claimer.config)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 64
    assert "[worker]: unknown key 'capacty'; did you mean capacity?" in done.stderr


def test_a_redis_that_is_restarted_costs_nothing(rig: Rig, claimer: Claimer) -> None:
    process = claimer.start()
    rig.create()
    until(lambda: len(rig.records.active()) == 1)
    (run,) = rig.records.active()
    rig.server.restart()
    rig.uploaded(run, COMPLETED)
    until(lambda: rig.status(run)["state"] == "completed")
    assert process.poll() is None
