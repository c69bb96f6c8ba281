"""What becomes of a run in a container whose process is killed, in each phase; and of what no run owns any more."""

import os
import signal

import pytest

from executor.docker.yard import Yard
from taskward.core.ids import RunId
from taskward.executor.docker import labels
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.features.artifacts import ContainerArtifacts
from taskward.executor.docker.features.image import ContainerImage
from taskward.executor.docker.network import Networks

pytestmark = pytest.mark.root
ARTIFACT = {"public/a": {"type": "file", "path": "/a"}}


def _stop_here(*_unused: object) -> None:
    signal.pause()


def test_a_run_that_dies_while_it_runs_is_not_run_again(yard: Yard) -> None:
    run = yard.claim("echo a > /a; echo started; sleep 1000", artifacts=ARTIFACT)
    job = yard.bench.start(run)
    yard.bench.wait_for_line(run, "started")
    (container,) = yard.containers()
    pids = [int(row[0]) for row in yard.daemon.top(container["Id"], ps_args="-o pid")["Processes"]]

    job.kill()
    assert yard.bench.start(run).wait() == 0

    result = yard.bench.result(run)
    assert (result.outcome.state, result.outcome.reason) == ("exception", "worker-shutdown")
    assert "The process that worked on this run died while the run was in phase 'running'" in result.log
    assert not any(yard.bench.is_alive(pid) for pid in pids)
    assert result.index.entries == ()
    assert yard.left_over(run) == []


def test_a_run_that_dies_while_it_is_prepared_leaves_nothing(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    run = yard.claim("true")
    with monkeypatch.context() as patch:
        patch.setattr(ContainerImage, "start", _stop_here)
        job = yard.bench.start(run)
        yard.bench.wait_until(lambda: yard.bench.layout.task_directory(run).exists())
        yard.bench.wait_for_phase(run, "preparing")
        job.kill()
    assert yard.bench.start(run).wait() == 0

    assert yard.bench.result(run).outcome.reason == "worker-shutdown"
    assert yard.left_over(run) == []


def test_a_run_that_dies_while_it_is_collected_still_counts(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    run = yard.claim("echo kept > /a", artifacts=ARTIFACT)
    with monkeypatch.context() as patch:
        patch.setattr(ContainerArtifacts, "stop", _stop_here)
        job = yard.bench.start(run)
        yard.bench.wait_for_phase(run, "collecting")
        job.kill()
    assert yard.bench.start(run).wait() == 0

    result = yard.bench.result(run)
    assert result.outcome.succeeded
    assert result.content("public/a") == b"kept\n"
    assert yard.left_over(run) == []


def test_a_sweep_removes_what_dead_runs_left_and_nothing_else(yard: Yard) -> None:
    run = RunId("AAAAAAAAQAaAAAAAAAAAAA", 3)
    state_dir, make = yard.bench.state_dir, yard.daemon.create_container
    ours = make(yard.image, ["sleep", "1000"], labels=labels.of_run(state_dir, run))["Id"]
    yard.daemon.start(ours)
    others = make(yard.image, ["true"], labels={labels.RUN: run.key, labels.WORKER: "another"})["Id"]
    yard.daemon.create_volume(f"tw-{others[:12]}", labels=labels.of_run(state_dir, run))
    try:
        yard.bench.sweep()

        left = {each["Id"] for each in yard.daemon.containers(all=True)}
        volumes = yard.daemon.volumes(filters={"name": f"tw-{others[:12]}"})["Volumes"]
        assert ours not in left
        assert others in left
        assert not volumes
    finally:
        yard.daemon.remove_container(others, force=True)


def test_networks_are_used_again_and_only_some_are_kept(yard: Yard) -> None:
    networks = Networks(Daemon(yard.bench.settings.docker), yard.bench.state_dir, None)
    taken = [networks.take() for _ in range(3)]
    assert len({network.name for network, _ in taken}) == 3
    for _, lock in taken:
        os.close(lock)

    yard.bench.sweep()

    again, lock = networks.take()
    os.close(lock)
    assert yard.networks() == [again.name]


def test_a_worker_without_a_daemon_says_so(yard: Yard) -> None:
    yard.use({"host": "unix:///nowhere/docker.sock"})
    away = yard.run("true")
    yard.use({"enabled": False})
    off = yard.run("true")
    yard.use()

    assert (away.outcome.state, away.outcome.reason) == ("exception", "resource-unavailable")
    assert "/nowhere/docker.sock does not answer" in away.log
    assert off.outcome.reason == "malformed-payload"
    assert "[docker] enabled is off" in off.log
