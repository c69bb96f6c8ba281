"""A daemon that goes away, and people who interfere: the run ends, and says why."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.docker.yard import Yard
from simulators.docker_switch import Switch
from taskward.core.settings import DockerSettings, ExecutorSettings
from taskward.executor.docker import output
from taskward.executor.docker.config import container_config
from taskward.executor.docker.network import Network
from taskward.executor.docker.outfit import Bind, Outfit
from taskward.executor.engine import Program

pytestmark = pytest.mark.root
NETWORK = Network("id", "name", "172.30.0.1", "172.30.0.0/16", "bridge")


@pytest.fixture
def switch() -> Iterator[Switch]:
    with tempfile.TemporaryDirectory(prefix="tw") as directory:
        switch = Switch(Path(directory) / "docker.sock")
        yield switch
        switch.cut()


def test_a_daemon_that_goes_away_while_a_task_runs_ends_the_run_and_its_processes(
    yard: Yard, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_DAEMON_AWAY_S", 0.5)
    yard.use({"host": switch.url})
    run = yard.claim("echo started; sleep 1000")
    job = yard.bench.start(run)
    yard.bench.wait_for_line(run, "started")
    (container,) = yard.containers()
    pids = [int(row[0]) for row in yard.daemon.top(container["Id"], ps_args="-o pid")["Processes"]]

    switch.cut()

    assert job.wait() == 0
    yard.use()
    result = yard.bench.result(run)
    assert (result.outcome.state, result.outcome.reason) == ("exception", "internal-error")
    assert "does not answer" in result.log
    assert result.log.splitlines()[-1].startswith("[taskcluster ")
    assert not any(yard.bench.is_alive(pid) for pid in pids)
    yard.bench.records.resolved(run)
    yard.bench.sweep()
    assert yard.left_over(run) == []


def test_a_container_that_somebody_removes_ends_its_run(yard: Yard) -> None:
    run = yard.claim("echo started; sleep 1000", artifacts={"public/a": {"type": "file", "path": "/a"}})
    job = yard.bench.start(run)
    yard.bench.wait_for_line(run, "started")
    began = time.monotonic()

    yard.daemon.remove_container(yard.containers()[0]["Id"], force=True)

    assert job.wait() == 0
    assert time.monotonic() - began < 10
    result = yard.bench.result(run)
    assert result.outcome.state in ("failed", "exception")
    assert "Unsuccessful task run with exit code:" in result.log


def test_a_stopped_container_is_continued_by_the_kill(yard: Yard) -> None:
    run = yard.claim("echo started; sleep 1000")
    job = yard.bench.start(run)
    yard.bench.wait_for_line(run, "started")
    yard.daemon.pause(yard.containers()[0]["Id"])

    yard.bench.records.abort(run, "canceled")

    assert job.wait() == 0
    assert yard.left_over(run) == []


def test_privileged_containers_have_the_runtime_for_them_and_no_other_does() -> None:
    docker = DockerSettings(privileged_runtime="own-runtime")
    outfits = [Outfit(privileged=True), Outfit(binds=[Bind(Path("/host"), "/there", read_only=True)])]
    hosts = [
        container_config(Program((), {}), each, NETWORK, {}, "", docker, ExecutorSettings())["HostConfig"]
        for each in outfits
    ]

    assert [host["Runtime"] for host in hosts] == ["own-runtime", ""]
    assert [host["Privileged"] for host in hosts] == [True, False]
    assert [host["SecurityOpt"] for host in hosts] == [[], ["no-new-privileges"]]
    assert hosts[1]["Binds"] == ["/host:/there:ro"]
