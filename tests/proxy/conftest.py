from collections.abc import Iterator

import pytest

from proxy.containers import Pair
from proxy.named import BALROG_SCOPE, EVERYTHING, RELENG_SCOPE, Named
from proxy.rig import RedisServer, Rig, free_port, running_proxy, running_redis
from proxy.upstream import SimulatedTaskcluster, reply, simulated_taskcluster
from simulators.balrog import Balrog
from simulators.device_cloud import DeviceCloud, Phone
from simulators.networks import Networks, simulated_networks
from simulators.releng import ISSUING_TOKEN, RelengApi, TokenService
from simulators.service import serving


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


@pytest.fixture(scope="package")
def simulators() -> Iterator[tuple[Balrog, SimulatedTaskcluster, TokenService, RelengApi, DeviceCloud]]:
    with (
        serving(Balrog()) as balrog,
        simulated_taskcluster() as stage,
        serving(TokenService()) as tokens,
        serving(RelengApi()) as tooltool,
        serving(DeviceCloud()) as cloud,
    ):
        yield balrog, stage, tokens, tooltool, cloud


@pytest.fixture(scope="package")
def made_named(
    made: Pair,
    simulators: tuple[Balrog, SimulatedTaskcluster, TokenService, RelengApi, DeviceCloud],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Named]:
    balrog, stage, tokens, tooltool, cloud = simulators
    folder = tmp_path_factory.mktemp("secrets")
    token_file, login_file = folder / "token", folder / "login"
    token_file.write_text(f"{ISSUING_TOKEN}\n")
    login_file.write_text('{"username": "u", "password": "p"}')
    for file in (token_file, login_file):
        file.chmod(0o400)
    settings = f"""
retry_for_s = 0.1
[proxy.upstreams.balrogVPNProxy]
url = "{balrog.url}"
[proxy.upstreams.balrogStageVPNProxy]
url = "{stage.root_url}"
timeout_s = 0.3
ready_timeout_s = 0.3
retry_for_s = 0.1
[proxy.upstreams.relengAPIProxy]
routes = {{ "/tooltool" = "{tooltool.url}", "/mapper/v1" = "{balrog.url}" }}
token = {{ url = "{tokens.url}", issuing_token_file = "{token_file}", timeout_s = 0.3 }}
[proxy.upstreams.testdroidProxy]
url = "{cloud.url}"
[proxy.upstreams.testdroidProxy.device_cloud]
login_file = "{login_file}"
poll_s = 0.01
session_pause_s = 0.01
proxy_pause_s = 0.01
flash_timeout_s = 0.1
"""
    port = free_port()
    with running_proxy(made.rig.redis, made.rig.taskcluster, settings, port) as rig:
        pair = Pair(rig, port, made.networks, made.network_a, made.network_b, made.a, made.b)
        yield Named(pair, balrog, stage, tokens, tooltool, cloud)


@pytest.fixture
def named(made_named: Named) -> Named:
    """With nothing left of the test before; run alice/0 may use everything."""
    simulated = (made_named.balrog, made_named.tokens, made_named.tooltool, made_named.cloud)
    for each in simulated:
        each.calls.clear()
    made_named.pair.rig.taskcluster.requests.clear()
    made_named.balrog.awake = True
    made_named.stage.requests.clear()
    made_named.stage.scripts.clear()
    made_named.tokens.answers.clear()
    cloud = made_named.cloud
    cloud.phones = [Phone(1, {"Codename": "flame", "Build Identifier": "319_http://x/b.zip", "SIMs": "1"})]
    cloud.sessions, cloud.released, cloud.runs, cloud.flash_polls, cloud.faults = {}, [], {}, 1, {}
    with made_named.pair.rig.redis.client as client:
        client.delete("tw:devices")
    made_named.allow(EVERYTHING, BALROG_SCOPE, RELENG_SCOPE)
    return made_named
