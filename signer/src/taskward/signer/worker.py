"""The gunicorn worker: gthread, whose threads never wait for a caller's bytes."""

import errno
import logging
import selectors
import socket
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Final

from gunicorn.workers.gthread import ThreadWorker

from taskward.signer.arrival import Arrival, HeadTooLargeError
from taskward.signer.door import TlsDoor
from taskward.signer.room import Room
from taskward.signer.tls import Contexts

_log = logging.getLogger(__name__)
_MIB: Final = 1024 * 1024
_STRANGERS_BYTES: Final = 64 * _MIB
_ADMITTED_BYTES: Final = 128 * _MIB
_ANSWER_S: Final = 10.0
_LINGER_S: Final = 1.0
_STOPPING_S: Final = 2.0
_PAUSE_S: Final = 0.05
_ACCEPTED_AT_ONCE: Final = 64
_DISCARD_BYTES: Final = 256 * 1024
_EMPTY: Final = b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout" + _EMPTY
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large" + _EMPTY

_Worker: Any = ThreadWorker  # gunicorn has no types, and what could be guessed from its code is not what it promises


class SignerWorker(_Worker):  # type: ignore[misc]  # see above
    """What differs from gunicorn's own gthread worker:

    * Handshake, head and body are collected by the accepting thread as they come, which waits for none of them
      (`Arrival`). Who is too slow, or has too many connections (`Room`), is dropped. A thread gets a whole request.
    * Those whom the configuration names have room of their own, which strangers cannot take.
    * An answer that nobody reads is given up after ten seconds.

    The rooms bound the number of connections: 192, with what else is open less than `confine` allows.
    """

    def init_process(self) -> None:
        """Called once in the worker process (gunicorn)."""
        self._door = self.app.settings.door
        self._contexts = Contexts(self._door) if isinstance(self._door, TlsDoor) else None
        self._rooms = {False: Room(_STRANGERS_BYTES), True: Room(_ADMITTED_BYTES)}  # by `Arrival.admitted`
        super().init_process()

    def accept(self, listener: socket.socket) -> None:
        """Take the connections that wait (gunicorn); some at a time, lest a flood of them be all that happens."""
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, client = listener.accept()
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                    _log.error("cannot accept a connection: %s", error)
                    time.sleep(_PAUSE_S)  # out of descriptors, most likely: some will be closed meanwhile
                return
            self._welcome(listener, sock, client)

    def _welcome(self, listener: socket.socket, sock: socket.socket, client: Any) -> None:
        context = self._contexts.current() if self._contexts else None
        arrival = Arrival(self.cfg, sock, client, listener.getsockname(), self._door, context)
        self.nr_conns += 1
        self.poller.register(sock, selectors.EVENT_READ, partial(self._on_more, arrival))
        self._enter(arrival)

    def _on_more(self, arrival: Arrival, _sock: socket.socket) -> None:
        if arrival not in self._rooms[arrival.admitted]:
            return  # dropped by what happened at the same time
        try:
            whole = arrival.advance()
        except HeadTooLargeError:
            self._drop(arrival, _TOO_LARGE)
        except (OSError, ValueError) as error:
            _log.debug("no request from %s: %s", arrival.account, error)
            self._drop(arrival)
        else:
            self._go_on(arrival, whole)

    def _go_on(self, arrival: Arrival, whole: bool) -> None:
        if whole:
            self.poller.unregister(arrival.sock)
            arrival.hand_over()
            self.enqueue_req(arrival)
        self._enter(arrival)

    def _enter(self, arrival: Arrival) -> None:
        self._rooms[not arrival.admitted].leave(arrival)
        room = self._rooms[arrival.admitted]
        room.enter(arrival)
        while (other := room.one_too_many()) is not None:
            self._drop(other)

    def _drop(self, arrival: Arrival, answer: bytes = b"") -> None:
        self.poller.unregister(arrival.sock)
        if answer:
            arrival.say(answer)
        self._close(arrival)

    def _close(self, arrival: Arrival) -> None:
        for room in self._rooms.values():
            room.leave(arrival)
        arrival.close()
        self.nr_conns -= 1

    def murder_pending(self) -> None:
        """Drop who was too slow (gunicorn, each second or more often); on stopping nobody is waited for much longer."""
        now_s = time.monotonic()
        for arrival in (*self._rooms[False], *self._rooms[True]):
            until_s = arrival.deadline_s if self.alive else min(arrival.deadline_s, arrival.accepted_s + _STOPPING_S)
            if not arrival.at_work and now_s >= until_s:
                self._drop(arrival, b"" if arrival.unread else _TOO_SLOW)

    def handle_request(self, req: Any, conn: Arrival) -> bool:
        """The request is here; from now on the socket waits for the answer to be read (gunicorn, on a thread)."""
        conn.sock.settimeout(_ANSWER_S)
        return bool(super().handle_request(req, conn))

    def finish_request(self, conn: Arrival, fs: "Future[bool]") -> None:
        """Take a connection back from its thread, answered (gunicorn)."""
        if not fs.cancelled() and (error := fs.exception()) is not None:
            _log.error("a thread failed: %r", error)
        if conn.unread and conn.sock.fileno() >= 0:
            self._let_it_finish(conn)
        else:
            self._close(conn)

    def _let_it_finish(self, arrival: Arrival) -> None:
        """To close with something unread could take the answer back (RFC 9112, 9.6): for a second it is discarded."""
        arrival.at_work = False
        arrival.deadline_s = time.monotonic() + _LINGER_S
        arrival.sock.setblocking(False)
        with suppress(OSError):
            arrival.sock.shutdown(socket.SHUT_WR)  # ends TLS, too: from here on bytes are bytes
        self.poller.register(arrival.sock, selectors.EVENT_READ, partial(self._on_unwanted, arrival))

    def _on_unwanted(self, arrival: Arrival, sock: socket.socket) -> None:
        if arrival not in self._rooms[arrival.admitted]:
            return
        with suppress(OSError):
            if sock.recv(_DISCARD_BYTES):
                return
        self._drop(arrival)
