from collections.abc import Iterator

import pytest

from proxy.containers import Pair
from proxy.rig import RedisServer, Rig, running_proxy, running_redis
from proxy.upstream import SimulatedTaskcluster, reply, simulated_taskcluster
from simulators.networks import Networks, simulated_networks


@pytest.fixture(scope="package")
def redis_server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture(scope="package")
def shared_rig(redis_server: RedisServer) -> Iterator[Rig]:
    settings = "retry_for_s = 1.0\n"
    with (
        simulated_taskcluster() as taskcluster,
        running_proxy(redis_server, taskcluster, settings, container_port=0) as rig,
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


@pytest.fixture(scope="package")
def networks() -> Iterator[Networks]:
    with simulated_networks() as made:
        yield made


@pytest.fixture(scope="package")
def made(shared_rig: Rig, networks: Networks) -> Pair:
    assert shared_rig.container_port is not None
    first, second = networks.network(), networks.network()
    a, b = networks.namespace(first), networks.namespace(second)
    return Pair(shared_rig, shared_rig.container_port, networks, first, second, a, b)


@pytest.fixture
def pair(made: Pair, rig: Rig) -> Pair:
    for run, network in (("alice/0", made.network_a), ("bob/0", made.network_b)):
        made.give(network, run)
        rig.store_credentials(run, f"task-client/{run.partition('/')[0]}")
    return made
