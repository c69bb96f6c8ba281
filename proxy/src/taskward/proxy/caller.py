"""Who is at the other end of a connection? What the kernel says of it, never what the peer does."""

import socket
from dataclasses import dataclass
from typing import Final

from taskward.proxy import arrival
from taskward.proxy.peers import SocketOwners

_HOST_ONLY: Final = "127."


@dataclass(frozen=True)
class User:
    """A process of this host, which called an address in 127/8; `uid` owns it."""

    uid: int


@dataclass(frozen=True)
class Container:
    """Something outside of this host: it called from `address`, by the `device` that has the called address."""

    address: str
    device: str


Caller = User | Container


class Callers:
    """Identifies callers. For one thread; about 25 µs per question."""

    def __init__(self) -> None:
        self._owners = SocketOwners()

    def identify(self, accepted: socket.socket) -> Caller | None:
        """Who called an accepted IPv4 connection; None for whoever cannot be anybody's task."""
        try:
            called, calling = accepted.getsockname()[0], accepted.getpeername()[0]
        except OSError:
            return None
        if called.startswith(_HOST_ONLY):
            uid = self._owners.uid_of_peer(accepted)
            return None if uid is None else User(uid)
        device = arrival.device_of(accepted)
        return Container(calling, device) if device and arrival.address_of(device) == called else None
