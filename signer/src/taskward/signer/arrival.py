"""A connection whose request is on its way: it is collected as it comes, and waits for nothing and in no thread."""

import re
import ssl
import time
from contextlib import suppress
from ipaddress import IPv6Address, ip_network
from typing import Any, Final

from gunicorn.http import get_parser
from gunicorn.workers.gthread import TConn

from taskward.signer.answers import ForbiddenError
from taskward.signer.door import SocketDoor, TlsDoor
from taskward.signer.peer import allowed_peer
from taskward.signer.request import MAX_REQUEST_BYTES
from taskward.signer.sockets import peer_uid

_PATIENCE_S: Final = 10.0
_SLOWEST_BYTES_PER_S: Final = 1024 * 1024
_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_STRANGERS_BODY_BYTES: Final = 64 * 1024
_PIECE_BYTES: Final = 256 * 1024
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,12})[ \t]*\r\n", re.IGNORECASE)
_CONNECTION_BYTES: Final = 1024 * 1024

_Connection: Any = TConn  # gunicorn has no types, and what could be guessed from its code is not what it promises


class HeadTooLargeError(Exception):
    """The head of the request does not end where a head has to: say so and close."""


class Arrival(_Connection):  # type: ignore[misc]  # see above
    """A connection as gunicorn keeps it. The request that a thread is given is in memory, and all there will be of it.

    `account` is who pays for its room: the uid, the name in the certificate, or the address while there is neither;
    `admitted` tells whether the configuration names them. `deadline_s` is when patience ends (`time.monotonic`): ten
    seconds for handshake, head and body together, and for those who are admitted one more for each MiB of a body.
    """

    def __init__(
        self, cfg: Any, sock: Any, client: Any, server: Any, door: SocketDoor | TlsDoor, context: ssl.SSLContext | None
    ) -> None:
        super().__init__(cfg, sock, client, server)  # which makes the socket non-blocking
        self.sock: Any
        self.accepted_s = time.monotonic()
        self.deadline_s = self.accepted_s + _PATIENCE_S
        self.at_work = self.admitted = self.unread = False
        self._door = door
        self._context = context
        self._data = bytearray()
        self._size_bytes: int | None = None
        self._searched = self._weight = 0
        if context is None:
            self.account: int | str = peer_uid(sock)
            self._identify()
        else:
            self.account = _site(client[0])

    @property
    def weight(self) -> int:
        """What it costs in bytes; one that has sent nothing counts for a MiB."""
        return _CONNECTION_BYTES + max(self._weight, len(self._data))

    def advance(self) -> bool:
        """Take what has come; True when the request is whole, or will be refused without the rest.

        Raises `HeadTooLargeError`, or OSError or ValueError when no request is to be had from the other side.
        """
        try:
            self._shake_hands()
            while (missing := self._missing()) > 0:
                piece = self.sock.recv(min(missing, _PIECE_BYTES))
                if not piece:
                    raise ConnectionError("it ended before its request did")
                self._data += piece
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        return True

    def hand_over(self) -> None:
        """From now on it is a thread's: the parser reads from memory, the socket is for the answer alone."""
        self.at_work = self.initialized = True
        self._weight = len(self._data)
        self.parser = get_parser(self.cfg, iter([bytes(self._data)]), self.client)
        self._data = bytearray()

    def say(self, answer: bytes) -> None:
        """A last word, if it can be had at once."""
        with suppress(OSError, ValueError):
            if self._context is None:
                self.sock.send(answer)

    def close(self, graceful: bool = False) -> None:
        """At once: nobody waits on the accepting thread (gunicorn)."""
        with suppress(OSError):
            self.sock.close()

    def _shake_hands(self) -> None:
        """Our part of a handshake has room in the buffers of a fresh connection; where it has not, it ends."""
        if self._context is None:
            return
        if not isinstance(self.sock, ssl.SSLSocket):
            self.sock = self._context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        self.sock.do_handshake()
        self._context = None
        self._identify()

    def _identify(self) -> None:
        with suppress(ForbiddenError):  # which the application tells them: they may still ask
            ((_, self.account),) = allowed_peer(self.sock, self._door).items()
            self.admitted = True

    def _missing(self) -> int:
        if self._size_bytes is not None:
            return self._size_bytes - len(self._data)
        end = self._data.find(_HEAD_END, self._searched)
        self._searched = max(0, len(self._data) - len(_HEAD_END) + 1)
        if end >= 0:
            head_bytes = end + len(_HEAD_END)
            size_bytes = head_bytes + self._body_bytes(bytes(self._data[:head_bytes]))
            self._size_bytes = size_bytes
            return size_bytes - len(self._data)
        if len(self._data) >= _MAX_HEAD_BYTES:
            raise HeadTooLargeError
        return _MAX_HEAD_BYTES - len(self._data)

    def _body_bytes(self, head: bytes) -> int:
        """How much of a body to wait for. What is too large, or of unknown length, is refused by its head alone."""
        length = _LENGTH.search(head)
        announced = int(length[1]) if length else 0
        if announced > (MAX_REQUEST_BYTES if self.admitted else _MAX_STRANGERS_BODY_BYTES):
            self.unread = True
            return 0
        self.unread = b"\r\ntransfer-encoding:" in head.lower()
        if self.admitted:
            self.deadline_s += announced / _SLOWEST_BYTES_PER_S
        return announced


def _site(address: str) -> str:
    """Whoever has one IPv6 address has the 64 bits behind its network's."""
    host = address.partition("%")[0]
    if ":" not in host:
        return host
    mapped = IPv6Address(host).ipv4_mapped
    return str(mapped or ip_network((host, 64), strict=False))
