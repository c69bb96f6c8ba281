"""How the containers of one network reach the proxy at port 80, by which local address the proxy then knows them.

Two ways, by what ``[proxy]`` of the configuration says:

``container_port``   the proxy runs on this host: it is called at the network's gateway. Port 80 there is led to the
                     proxy's port by the kernel (iptables), for packets of this one bridge only.
``container``        the proxy is in a container of that name, which joins the network and is called at its address;
                     ``auto`` is the container whose network this process is in itself.

Everything here can be done twice, and by any process: what there is to undo follows from the network.
"""

import socket
import subprocess
from collections.abc import Mapping
from typing import Any, Final, Protocol

from docker.errors import DockerException

from taskward.executor.docker.daemon import Daemon, DaemonRefused
from taskward.executor.errors import EngineFailed

_OWN: Final = "auto"
_PORT: Final = "80"
_TIMEOUT_S: Final = 20
_LOCK_WAIT_S: Final = "5"
_MARK: Final = ("-m", "comment", "--comment", "taskward")
_CONFLICT: Final = (403, 409)  # what the daemon says to a second connection, depending on its age


class Network(Protocol):
    """What is needed of `network.Network`."""

    @property
    def id(self) -> str: ...  # noqa: D102 - as there
    @property
    def gateway(self) -> str: ...  # noqa: D102
    @property
    def bridge(self) -> str: ...  # noqa: D102


class Front(Protocol):
    """One of the two ways."""

    member: str
    """The name or (short) id of the proxy's container, which is on every network; empty: the proxy is on this host."""

    def address(self, network: Network) -> str:
        """The local address at which the proxy meets containers of this network.

        Raises:
            EngineFailed: it has none there.
        """
        ...

    def open(self, network: Network) -> None:
        """Port 80 of that address leads to the proxy.

        Raises:
            EngineFailed: this machine cannot do that.
        """
        ...

    def close(self, network: Network) -> None:
        """The network is about to be removed: nothing is left of it. What resists is harmless, and is not told."""
        ...


def front_of(proxy: Mapping[str, Any], daemon: Daemon) -> Front | None:
    """The way that the section [proxy] names; None where containers have no proxy."""
    if name := str(proxy.get("container", "")):
        return _Member(socket.gethostname() if name == _OWN else name, daemon)
    port = proxy.get("container_port")
    return _Gateway(int(port)) if port else None


class _Gateway:
    """The proxy is on this host."""

    member = ""

    def __init__(self, port: int) -> None:
        self._port = str(port)

    def address(self, network: Network) -> str:
        return network.gateway

    def open(self, network: Network) -> None:
        for table, chain, rule in self._rules(network):
            where = ("-t", table)
            if _iptables(*where, "-C", chain, *rule).returncode != 0:
                added = _iptables(*where, "-I", chain, *rule)
                if added.returncode != 0:
                    raise EngineFailed(f"containers cannot be led to the proxy: {added.stderr.strip()[:300]}")

    def close(self, network: Network) -> None:
        for table, chain, rule in self._rules(network):
            _iptables("-t", table, "-D", chain, *rule)

    def _rules(self, network: Network) -> list[tuple[str, str, tuple[str, ...]]]:
        """Lead port 80 to the proxy; let its port be called where the firewall lets nothing in."""
        there = ("-i", network.bridge, "-d", network.gateway, "-p", "tcp", *_MARK, "--dport")
        return [
            ("nat", "PREROUTING", (*there, _PORT, "-j", "REDIRECT", "--to-ports", self._port)),
            ("filter", "INPUT", (*there, self._port, "-j", "ACCEPT")),
        ]


class _Member:
    """The proxy is a container itself; it stays on a network for as long as that is there."""

    def __init__(self, member: str, daemon: Daemon) -> None:
        self.member, self._daemon = member, daemon

    def address(self, network: Network) -> str:
        if (address := self._found(network)) is None:
            self._join(network)
            address = self._found(network)
        if address is None:
            raise EngineFailed(f"the proxy's container {self.member} has no address in network {network.id[:12]}")
        return address

    def open(self, network: Network) -> None:
        self.address(network)

    def close(self, network: Network) -> None:
        try:
            self._daemon.api.disconnect_container_from_network(self.member, network.id, force=True)
        except (DockerException, EngineFailed):
            return  # it was not there

    def _join(self, network: Network) -> None:
        try:
            with self._daemon.asking(f"let the proxy's container {self.member} join a network"):
                self._daemon.api.connect_container_to_network(self.member, network.id)
        except DaemonRefused as error:
            if error.status not in _CONFLICT:
                raise

    def _found(self, network: Network) -> str | None:
        with self._daemon.asking(f"describe the proxy's container {self.member}"):
            networks = self._daemon.api.inspect_container(self.member)["NetworkSettings"]["Networks"]
        return next((each["IPAddress"] for each in networks.values() if each["NetworkID"] == network.id), None) or None


def _iptables(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["iptables", "-w", _LOCK_WAIT_S, *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", f"iptables: {error}")
