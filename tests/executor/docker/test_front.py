"""Both ways from a container's network to the proxy can be opened twice, and closed when there is nothing."""

import os
import secrets
import threading
from collections.abc import Iterator

import pytest
from docker.errors import APIError

from executor.docker.yard import Yard
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.front import Front, front_of
from taskward.executor.docker.network import Network, Networks
from taskward.executor.docker.slots import try_lock
from taskward.executor.errors import EngineFailed

pytestmark = pytest.mark.root


@pytest.fixture
def proxy_container(yard: Yard) -> Iterator[str]:
    """A container in place of the proxy's; it answers at port 80."""
    name = f"taskward-test-proxy-{secrets.token_hex(4)}"
    serve = ["sh", "-c", "while :; do echo -n hello | nc -l -p 80; done"]
    container = yard.daemon.create_container(yard.image, serve, name=name)
    yard.daemon.start(container)
    yield name
    yard.daemon.remove_container(container, force=True)


def networks_with(yard: Yard, front: Front) -> Networks:
    return Networks(Daemon(yard.bench.settings.docker), yard.bench.state_dir / "front", front)


@pytest.mark.parametrize("named", ["by name", "as our own"])
def test_a_proxy_that_is_a_container_joins_the_network_and_stays_until_it_goes(
    yard: Yard, proxy_container: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = yard.daemon.inspect_container(proxy_container)["Config"]["Hostname"]
    monkeypatch.setattr("socket.gethostname", lambda: own)
    name = proxy_container if named == "by name" else "auto"
    front = front_of({"container": name}, Daemon(yard.bench.settings.docker))
    assert front is not None
    networks = networks_with(yard, front)
    network, lock = networks.take()
    try:
        address = front.address(network)
        assert address == front.address(network)
        front.open(network)
        assert address.startswith(network.gateway.rpartition(".")[0])
        asked = yard.daemon.create_container(
            yard.image, ["nc", address, "80"], host_config=yard.daemon.create_host_config(network_mode=network.name)
        )
        yard.daemon.start(asked)
        yard.daemon.wait(asked, timeout=20)
        assert yard.daemon.logs(asked) == b"hello", "they may talk"
        yard.daemon.remove_container(asked, force=True)
    finally:
        os.close(lock)
    again, lock = networks.take()
    os.close(lock)
    assert again == network, "the proxy on it does not make it used"
    turn = try_lock(yard.bench.state_dir / "front/locks", "networks.turn")
    assert turn is not None
    networks.keep(0)
    yard.daemon.inspect_network(network.id)
    threading.Timer(0.2, os.close, (turn,)).start()
    networks.keep(0, patience_s=20)
    with pytest.raises(APIError, match="404"):
        yard.daemon.inspect_network(network.id)


def test_a_proxy_container_that_is_not_there_is_told(yard: Yard) -> None:
    front = front_of({"container": "taskward-test-absent"}, Daemon(yard.bench.settings.docker))
    assert front is not None
    network = Network("0" * 64, "tw0", "10.0.0.1", "10.0.0.0/24", "tw0")
    front.close(network)
    with pytest.raises(EngineFailed, match="the proxy's container taskward-test-absent"):
        front.address(network)


def test_a_host_without_iptables_says_so(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    front = front_of({"container_port": 60024}, Daemon(yard.bench.settings.docker))
    assert front is not None
    monkeypatch.setenv("PATH", "/nonexistent")
    network = Network("0" * 64, "tw0", "10.0.0.1", "10.0.0.0/24", "tw0")
    front.close(network)
    with pytest.raises(EngineFailed, match="containers cannot be led to the proxy: iptables"):
        front.open(network)


def test_without_a_setting_there_is_no_way(yard: Yard) -> None:
    assert front_of({"port": 60024}, Daemon(yard.bench.settings.docker)) is None
