"""An accepted connection that knows who is at its other end."""

import errno
import select
import socket
import time
from typing import Final

from taskward.proxy.caller import Caller, User
from taskward.proxy.errors import ClientGone
from taskward.proxy.peers import SocketOwners

_GONE: Final = select.POLLHUP | select.POLLERR
_PROBE_S: Final = 15
_PROBES: Final = 4


class TaskSocket(socket.socket):
    """A connection from a task.

    `address` is the local address it called and `caller` the one at the other end. `run_key` is the run it was
    admitted for (None: not yet), `upstreams` what that run may reach by name (None: Taskcluster, by any name) and
    `checked_at_s` when that was last looked up. `close_after` asks the worker to close after the present request.

    A body may take as long as it wants while its bytes keep coming; what stalls for longer than `wait_at_most` was
    told looks like a connection that was reset.
    """

    __slots__ = (
        "_half_closed", "_held", "_idle_s", "address", "caller", "checked_at_s", "close_after", "run_key", "upstreams"
    )  # fmt: skip

    def __init__(self, accepted: socket.socket, caller: Caller) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self.caller = caller
        self.address: str = self.getsockname()[0]
        self.run_key: str | None = None
        self.upstreams: frozenset[str] | None = None
        self.checked_at_s = float("-inf")
        self.close_after = False
        self._idle_s: float | None = None
        self._held: bytes | None = None
        self._half_closed = False

    @property
    def account(self) -> int | str:
        """Who pays for it: the user, or the network of a container, whatever addresses it has made for itself."""
        return self.caller.uid if isinstance(self.caller, User) else self.address

    def wait_at_most(self, idle_s: float) -> None:
        """From now on each read and each write may take this long."""
        self._idle_s = idle_s
        self.settimeout(idle_s)

    def setblocking(self, flag: bool) -> None:
        """As `socket.setblocking`, but to block is to wait as long as was said last."""
        self.settimeout(self._idle_s if flag else 0.0)

    def settimeout(self, value: float | None) -> None:
        """As `socket.settimeout`, without the system call where nothing changes."""
        if value != self.gettimeout():
            super().settimeout(value)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """As `socket.recv`; ConnectionResetError when the peer is too slow."""
        try:
            return super().recv(bufsize, flags)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the client is too slow") from None

    def hold_next(self) -> None:
        """Keep what is sent next (the head of an answer) and send it together with what follows (its body)."""
        self._held = b""

    def sendall(self, data: "bytes | memoryview", flags: int = 0) -> None:  # type: ignore[override]  # narrower
        """As `socket.sendall`, see `hold_next`; ConnectionResetError when the peer is too slow."""
        if self._held == b"":
            self._held = bytes(data)
            return
        held, self._held = self._held, None
        try:
            super().sendall(held + data if held else data, flags)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the client is too slow") from None

    def recv_some(self, view: memoryview) -> int:
        """Fill the front of `view` with what comes next of a body and tell how much; ClientGone at its end."""
        try:
            size = self.recv_into(view)
        except OSError as error:
            raise ClientGone(str(error)) from error
        if size == 0:
            raise ClientGone("the connection ended within the body")
        return size

    def send_all(self, data: bytes | memoryview) -> None:
        """As `socket.sendall`; ClientGone instead of OSError."""
        try:
            self.sendall(data)
        except OSError as error:
            raise ClientGone(str(error)) from error

    @property
    def signs_of_leaving(self) -> int:
        """What to poll for, see `has_left`."""
        return 0 if self._half_closed else select.POLLRDHUP

    def has_left(self, found: int) -> bool:
        """Whether the task has gone, by what a poll for `signs_of_leaving` (which may change by this) has found.

        One that has closed its side only may wait for its answer: one on this host does if a process still has the
        other end. Of a container's the kernel tells nothing; if it has gone, a probe finds that out in some 75 s.
        """
        if found & _GONE:
            return True
        if not found & self.signs_of_leaving:
            return False
        self._half_closed = True
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_S)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_S)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return isinstance(self.caller, User) and not self._is_held()

    def leaves_within(self, seconds: float) -> bool:
        """Wait; True as soon as the task has gone."""
        end_s = time.monotonic() + seconds
        poll = select.poll()
        while (rest_s := end_s - time.monotonic()) > 0:
            poll.register(self, self.signs_of_leaving)
            if any(self.has_left(found) for _, found in poll.poll(rest_s * 1000)):
                return True
        return False

    def _is_held(self) -> bool:
        """Whether a process of this host has the other end open."""
        owners = SocketOwners()
        try:
            return owners.uid_of_peer(self) is not None
        finally:
            owners.close()

    def abort(self) -> None:
        """Cut the connection so that the task sees an incomplete answer rather than a short one."""
        self.close_after = True
        try:
            self.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # already cut by the other side
