"""Containers that cannot be below the run's own control group: limits, counting and killing are the daemon's then."""

import json
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pytest

from executor.docker.yard import Yard
from simulators.dockerd import Dockerd, Request
from taskward.core.ids import RunId
from taskward.core.settings import DockerSettings, Settings
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.engine import DockerEngine
from taskward.executor.engine import Engine

pytestmark = pytest.mark.root
EAT = "dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null; sleep 0.6; tail /dev/zero; exit 9"


class OfSystemd(Daemon):
    """The machine's own, as if systemd had the control groups."""

    @cached_property
    def shares_cgroups(self) -> bool:
        return False


def engine(run: RunId, settings: Settings) -> Engine:
    return DockerEngine(run, settings, OfSystemd(settings.docker))


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tw") as directory:
        yield Path(directory) / "docker.sock"


@pytest.mark.parametrize(("driver", "shares"), [("cgroupfs", True), ("systemd", False), ("none", False)])
def test_only_groups_of_plain_directories_are_shared(socket: Path, driver: str, shares: bool) -> None:
    class Answers(Request):
        def do_GET(self) -> None:
            if self.path.endswith("/info"):
                self.reply(json.dumps({"CgroupDriver": driver}).encode(), 200)
            else:
                super().do_GET()

    with Dockerd(socket, lambda _: None, Answers) as dockerd:
        daemon = Daemon(DockerSettings(host=dockerd.url))
        assert daemon.shares_cgroups is shares
        daemon.close()


def test_daemon_counts_and_limits_what_it_has_placed(yard: Yard) -> None:
    yard.use(executor={"memory_limit_bytes": 96 << 20})
    result = yard.bench.run_payload(yard.payload(EAT, features={"resourceMonitor": True}), engine)
    yard.use()

    assert "[taskcluster:error] Out of memory: the kernel killed" in result.log
    samples = json.loads(result.content("public/monitoring/resources.json"))["samples"]
    assert max(memory or 0 for _, _, memory, _ in samples) > 40 << 20
    assert yard.left_over(result.record.run) == []


def test_container_in_a_group_of_the_daemons_choice_is_killed(yard: Yard) -> None:
    run = yard.claim("trap '' TERM; sleep 1000 & echo started; sleep 1000")
    job = yard.bench.start(run, engine)
    yard.bench.wait_for_line(run, "started")
    (container,) = yard.containers()
    parent = yard.daemon.inspect_container(container["Id"])["HostConfig"]["CgroupParent"]

    yard.bench.records.abort(run, "canceled")

    assert job.wait() == 0
    assert parent == "", "a name of ours would have to be a slice's"
    assert yard.left_over(run) == []
