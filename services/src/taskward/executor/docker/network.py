"""A private network for each run: a bridge that only this run's container is on.

To make one costs 80 ms and to remove one 190 ms, so the worker keeps a few ready: a run takes one by locking its file
below ``locks/networks/``, and the kernel gives the lock back when the run's process ends, however it ends. A network
is taken only when no container is on it.
"""

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from docker.errors import NotFound

from taskward.core.poll import until
from taskward.executor.docker import labels
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.front import Front
from taskward.executor.docker.slots import try_lock
from taskward.executor.errors import EngineFailed

_PREFIX: Final = "tw"
_BRIDGE_OPTION: Final = "com.docker.network.bridge.name"
_TALK_OPTION: Final = "com.docker.network.bridge.enable_icc"
_OPTIONS: Final = {"com.docker.network.bridge.enable_ip_masquerade": "true"}

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Network:
    """One network: addresses as text, `subnet` like ``172.18.0.0/16``, `bridge` the interface on this host."""

    id: str
    name: str
    gateway: str
    subnet: str
    bridge: str

    @classmethod
    def parse(cls, described: dict[str, Any]) -> Self:
        """From the daemon's description.

        Raises:
            EngineFailed: it has no address.
        """
        try:
            address = described["IPAM"]["Config"][0]
            bridge = described["Options"][_BRIDGE_OPTION]
            return cls(described["Id"], described["Name"], address["Gateway"].split("/")[0], address["Subnet"], bridge)
        except (KeyError, IndexError, TypeError) as error:
            raise EngineFailed(f"the Docker network {described.get('Name')} has no address: {error!r}") from error


class Networks:
    """All networks of one worker; `front` leads from them to the proxy."""

    def __init__(self, daemon: Daemon, state_dir: Path, front: Front | None = None) -> None:
        self._daemon, self._state_dir, self._front = daemon, state_dir, front
        self._locks = state_dir / "locks" / "networks"

    def take(self) -> tuple[Network, int]:
        """A network that nobody uses, and the descriptor that keeps it so until it is closed.

        Raises:
            EngineFailed: none can be made.
        """
        for network in self._known():
            lock = try_lock(self._locks, network.name)
            if lock is not None:
                if self._is_empty(network):
                    return network, lock
                os.close(lock)
        return self._make()

    def keep(self, ready: int, patience_s: float = 0.0) -> None:
        """Makes or removes networks until `ready` are free; for a pause between runs.

        None is made for a worker that has none: its tasks have no containers. One process does this at a time, else
        each would make what the others hold for a moment; another that is at it is waited for no longer than
        `patience_s`, and then left alone.
        """
        turns: list[int] = []

        def has_turn() -> bool:
            turn = try_lock(self._locks.parent, "networks.turn")
            turns.extend(() if turn is None else (turn,))
            return turn is not None

        until(has_turn, patience_s, pause_s=0.05)
        for turn in turns:
            try:
                self._keep(ready)
            finally:
                os.close(turn)

    def _keep(self, ready: int) -> None:
        free: list[tuple[Network, int]] = []
        known = list(self._known())
        try:
            for network in known:
                lock = try_lock(self._locks, network.name)
                if lock is not None:
                    free.append((network, lock))
            for network, _ in free[ready:]:
                self._remove(network)
            while known and len(free) < ready:
                free.append(self._make())
        finally:
            for _, lock in free:
                os.close(lock)

    def _known(self) -> Iterator[Network]:
        """In random order, so that runs that begin at once do not all try the same one first."""
        filters = {"label": f"{labels.WORKER}={labels.worker_id(self._state_dir)}"}
        with self._daemon.asking("list networks"):
            found: list[dict[str, Any]] = self._daemon.api.networks(filters=filters)
        for described in sorted(found, key=lambda _: secrets.randbits(32)):
            with contextlib.suppress(EngineFailed):
                yield Network.parse(described)

    def _make(self) -> tuple[Network, int]:
        name = f"{_PREFIX}{secrets.token_hex(5)}"
        lock = try_lock(self._locks, name)
        if lock is None:
            raise EngineFailed(f"the new network {name} is locked by somebody else")
        try:
            with self._daemon.asking("make a network"):
                self._daemon.api.create_network(
                    name, "bridge", options=self._options(name), check_duplicate=True,
                    labels=labels.of_worker(self._state_dir),
                )  # fmt: skip
                described = self._daemon.api.inspect_network(name)
            return Network.parse(described), lock
        except BaseException:
            os.close(lock)
            raise

    def _options(self, name: str) -> dict[str, str]:
        """Where the proxy is a container on each network, the run's one must be able to call it."""
        talk = "true" if self._front is not None and self._front.member else "false"
        return {**_OPTIONS, _BRIDGE_OPTION: name, _TALK_OPTION: talk}

    def _remove(self, network: Network) -> None:
        """One that is in use after all stays."""
        if self._front is not None:
            self._front.close(network)
        try:
            with self._daemon.asking("remove a network"):
                self._daemon.api.remove_network(network.id)
        except EngineFailed as error:
            if not isinstance(error.__cause__, NotFound):
                _logger.warning("network not removed", extra={"network": network.name, "reason": str(error)})
                return
        (self._locks / network.name).unlink(missing_ok=True)

    def _is_empty(self, network: Network) -> bool:
        try:
            with self._daemon.asking("describe a network"):
                found = self._daemon.api.inspect_network(network.id).get("Containers") or {}
        except EngineFailed:
            return False
        proxy = self._front.member if self._front is not None else ""
        return all(proxy and (each.get("Name") == proxy or key.startswith(proxy)) for key, each in found.items())
