"""A connection as gunicorn keeps it, which collects the head of a request without holding a thread for it."""

import re
import socket
from enum import Enum, auto
from typing import Any, Final

from gunicorn import util
from gunicorn.workers.gthread import TConn

from taskward.proxy.connection import TaskSocket

MAX_HEAD_BYTES: Final = 96 * 1024
"""The most that a request may have before its body, in one line or in many: URLs with bewits are long."""

_CHUNK_BYTES: Final = 8 * 1024
_END: Final = re.compile(rb"\r\n\r\n|(?<!\r)\n")
"""Of a head; or of all hope for one: gunicorn refuses a line that ends otherwise."""

_Connection: Any = TConn  # gunicorn has no types, and what could be guessed from its code is not what it promises


class Head(Enum):
    """What there is of the next request's head."""

    PARTIAL = auto()
    """Nothing, or a part: wait for more."""
    WHOLE = auto()
    """All of it."""
    TOO_LARGE = auto()
    """More than a head may have."""
    ENDED = auto()
    """Nothing will come any more."""


class Connection(_Connection):  # type: ignore[misc]  # see above
    """A connection as gunicorn keeps it, and on whose account it is (`caller`)."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.unfinished = False
        self._searched = 0
        self.caller: tuple[object, str] = (None, "status")
        if isinstance(sock, TaskSocket):
            self.caller = (sock.account, sock.address)

    def collect(self) -> Head:
        """Take what has come, waiting for nothing; `unfinished` tells whether a part of a head is here."""
        self.init()
        self.sock.setblocking(False)
        buffer = self.parser.unreader.buf
        while (head := self._look(buffer.getvalue())) is Head.PARTIAL:
            try:
                data = self.sock.recv(_CHUNK_BYTES)
            except BlockingIOError:
                break
            except OSError:
                return Head.ENDED
            if not data:
                return Head.ENDED
            buffer.seek(0, 2)
            buffer.write(data)
        self.unfinished = head is Head.PARTIAL and self._searched > 0
        return head

    def close(self, graceful: bool = False) -> None:
        """Close at once: the slow part was done by `ProxyWorker.handle`, this runs on the one accepting thread."""
        util.close(self.sock)

    def _look(self, data: bytes) -> Head:
        end = _END.search(data, max(0, self._searched - 3))
        self._searched = 0 if end else len(data)
        if (end.end() if end else len(data)) > MAX_HEAD_BYTES:
            return Head.TOO_LARGE
        return Head.WHOLE if end else Head.PARTIAL
