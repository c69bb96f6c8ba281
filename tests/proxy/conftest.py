from collections.abc import Iterator

import pytest

from proxy.rig import RedisServer, Rig, free_port, running_proxy, running_redis
from proxy.upstream import SimulatedTaskcluster, reply, simulated_taskcluster


@pytest.fixture(scope="package")
def redis_server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture(scope="package")
def shared_rig(redis_server: RedisServer) -> Iterator[Rig]:
    settings = "retry_for_s = 1.0\n"
    with (
        simulated_taskcluster() as taskcluster,
        running_proxy(redis_server, taskcluster, settings, container_port=free_port()) as rig,
    ):
        yield rig


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    """The shared proxy, with nothing left of the test before."""
    taskcluster = shared_rig.taskcluster
    taskcluster.requests.clear()
    taskcluster.scripts.clear()
    taskcluster.default = reply()
    shared_rig.store_credentials("T/0", "task-client/T")
    return shared_rig


@pytest.fixture
def taskcluster(rig: Rig) -> SimulatedTaskcluster:
    return rig.taskcluster
