"""Which run is a connection of? Decided by where it comes from, never by anything the peer sends."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from taskward.proxy.caller import Caller, Container, User
from taskward.proxy.connection import TaskSocket
from taskward.proxy.errors import Refused, StoreUnavailable
from taskward.proxy.store import Store

RECHECK_S: Final = 1.0
_MAX_REMEMBERED: Final = 4096


@dataclass(frozen=True)
class _NativePeer:
    """A run whose processes `uid` owns."""

    run_key: str
    uid: int

    upstreams = None

    def is_me(self, caller: Caller) -> bool:
        return isinstance(caller, User) and caller.uid == self.uid


@dataclass(frozen=True)
class _DockerPeer:
    """A run whose containers have addresses in `subnet`; the host's own one there, `gateway`, is none of them.

    `bridge` is the device of that network here; empty where the proxy is a container itself and has devices of its own.
    """

    run_key: str
    subnet: IPv4Network
    gateway: IPv4Address
    bridge: str
    upstreams: frozenset[str]

    def is_me(self, caller: Caller) -> bool:
        if not isinstance(caller, Container):
            return False
        address = IPv4Address(caller.address)
        by_right_device = self.bridge in ("", caller.device)
        return by_right_device and address in self.subnet and address != self.gateway


_Peer = _NativePeer | _DockerPeer


class Gate:
    """Admits a connection for the run that owns its local address, if the right one is at the other end.

    That is the run's OS user at an address in 127/8, and an address of the run's own network at a container's gateway
    (which it called through that network: `caller`).

    The address alone is no proof (any process of the host can call it), nor is root exempt: only the uid in the
    run's entry passes. Where all tasks run as one user (a worker without root) only the addresses tell them apart;
    then a task can call its neighbour's address, as it can read its neighbour's files.

    An entry is read for each new connection and again before a request once it is a second old. A connection that was
    opened for one run never serves another: it is refused when its address has been given away meanwhile. While
    Redis is away the last known entries hold; they cannot change then.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._remembered: dict[str, _Peer] = {}

    def admit(self, sock: TaskSocket) -> None:
        """Make sure that `sock` may be served now and set its `run_key`.

        Raises Refused, or StoreUnavailable when Redis is away and the address is not known from before.
        """
        now_s = self._clock()
        if now_s - sock.checked_at_s < RECHECK_S:
            return
        peer = self._peer(sock.address)
        if peer is None:
            raise Refused(f"no run owns {sock.address} ({sock.caller})")
        if not peer.is_me(sock.caller):
            raise Refused(f"{sock.address} belongs to {peer}, called by {sock.caller}")
        if sock.run_key not in (None, peer.run_key):
            raise Refused(f"{sock.address} went from run {sock.run_key} to {peer.run_key}")
        sock.run_key = peer.run_key
        sock.upstreams = peer.upstreams
        sock.checked_at_s = now_s

    def _peer(self, address: str) -> _Peer | None:
        try:
            entry = self._store.peer(address)
        except StoreUnavailable:
            if address in self._remembered:
                return self._remembered[address]
            raise
        peer = _parse(entry)
        if peer is None:
            self._remembered.pop(address, None)
        else:
            self._remembered[address] = peer
            if len(self._remembered) > _MAX_REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)), None)
        return peer


def _parse(entry: dict[str, str]) -> _Peer | None:
    """None for a missing, incomplete or strange entry: nobody may use such an address."""
    task_id, run_id, uid = entry.get("taskId"), entry.get("runId"), entry.get("uid", "")
    if not task_id or not run_id:
        return None
    run_key = f"{task_id}/{run_id}"
    if "subnet" not in entry:
        return _NativePeer(run_key, int(uid)) if uid.isascii() and uid.isdigit() else None
    try:
        subnet, gateway = IPv4Network(entry["subnet"]), IPv4Address(entry.get("gateway", ""))
    except ValueError:
        return None
    upstreams = frozenset(entry.get("upstreams", "").split())
    return None if uid else _DockerPeer(run_key, subnet, gateway, entry.get("bridge", ""), upstreams)
