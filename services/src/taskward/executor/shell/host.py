"""The process that starts a run's shells: one thread, one loop, nothing to read but the gateway's short messages."""

import contextlib
import logging
import os
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from selectors import EVENT_READ, DefaultSelector
from typing import Final

from taskward.core.shell import (
    LARGEST_MESSAGE,
    MOST_SESSIONS,
    PROCESS_DIED,
    TASK_ENDED,
    Attach,
    End,
    Ended,
    Exited,
    MalformedMessage,
    Message,
    Open,
    Opened,
    Refused,
    Show,
    decode,
    encode,
)
from taskward.executor.errors import CommandNotStarted, EngineFailed
from taskward.executor.shell.session import KILLED_AFTER_S, Session, Starter, open_session

MOST_CONNECTIONS: Final = 4 * MOST_SESSIONS
Attend = Callable[[int], float | None]
_PEER: Final = struct.Struct("iII")

_logger = logging.getLogger(__name__)


class Host:
    """Serves `listener` until `stop` says so: by a byte in good order, by its end when the job process was killed.

    Args:
        listener: a listening SOCK_SEQPACKET socket.
        group: whoever has this primary group may ask, beside root and our own user.
        attend: is told how many shells there are, and says in how many seconds it wants to be told again.
    """

    def __init__(self, listener: socket.socket, stop: int, group: int, starter: Starter, attend: Attend) -> None:
        self._listener, self._stop, self._group, self._starter = listener, stop, group, starter
        self._attend = attend
        self._selector = DefaultSelector()
        self._sessions: dict[str, Session] = {}
        self._connections: dict[socket.socket, Session | None] = {}
        self._running = True

    def run(self) -> None:
        """Returns when the task is over; the shells die with the process."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, EVENT_READ, self._accept)
        self._selector.register(self._stop, EVENT_READ, self._end)
        while self._running:
            again_s = self._attend(sum(session.counts for session in self._sessions.values()))
            for key, _ in self._selector.select(self._pause_s(again_s)):
                if key.fileobj in self._selector.get_map():
                    act: Callable[[], None] = key.data
                    act()
            self._part_from_overdue()

    def _pause_s(self, again_s: float | None) -> float | None:
        due = [session.until_s for session in self._sessions.values() if session.until_s is not None]
        pauses = [max(0.0, min(due) - time.monotonic())] if due else []
        return min([*pauses, *(() if again_s is None else (again_s,))], default=None)

    def _end(self) -> None:
        reason = TASK_ENDED if os.read(self._stop, 1) else PROCESS_DIED
        for connection in list(self._connections):
            self._tell(connection, Ended(reason))
        self._running = False

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            _logger.warning("a connection could not be accepted", extra={"reason": str(error)})
            return
        if len(self._connections) >= MOST_CONNECTIONS or not self._may_ask(connection):
            connection.close()
            return
        connection.setblocking(False)
        self._connections[connection] = None
        self._selector.register(connection, EVENT_READ, partial(self._listen, connection))

    def _may_ask(self, connection: socket.socket) -> bool:
        """The directory of the socket keeps everybody else out; this holds even if it were opened by mistake."""
        _, uid, gid = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        allowed = uid in (0, os.geteuid()) or gid == self._group
        if not allowed:
            _logger.warning("a stranger asked for a shell", extra={"uid": uid, "gid": gid})
        return allowed

    def _listen(self, connection: socket.socket) -> None:
        try:
            packet = connection.recv(LARGEST_MESSAGE + 1)
            message = decode(packet) if packet else None
        except BlockingIOError:
            return
        except (OSError, MalformedMessage) as error:
            _logger.warning("a connection was closed", extra={"reason": str(error)})
            message = None
        session = self._connections[connection]
        match message:
            case Open() | Show() if session is None:
                self._open(connection, message)
            case Attach() if session is None:
                self._attach(connection, message)
            case End() if session is not None:
                self._close(connection)
                self._hang_up(session)
            case _:
                self._close(connection)

    def _open(self, connection: socket.socket, wish: Open | Show) -> None:
        if len(self._sessions) >= MOST_SESSIONS:
            self._refuse(connection, Refused(f"Too many sessions active! (at most {MOST_SESSIONS})", busy=True))
            return
        try:
            session, descriptors = open_session(wish, self._starter)
        except (CommandNotStarted, EngineFailed, OSError) as error:
            what = "no shell can be started" if isinstance(wish, Open) else "no display can be shown"
            self._refuse(connection, Refused(f"{what}: {error}"[:1000]))
            return
        self._sessions[session.name] = session
        self._selector.register(session.process, EVENT_READ, partial(self._exited, session))
        self._hand_over(connection, session, descriptors)

    def _attach(self, connection: socket.socket, wish: Attach) -> None:
        session = self._sessions.get(wish.session)
        if session is None or session.terminal is None or session.ending:
            self._refuse(connection, Refused("this session is over"))
            return
        if session.connection is not None:
            self._close(session.connection)
        self._hand_over(connection, session, [os.dup(session.terminal)])
        if session.exit_code is not None:
            self._tell_exit(session)

    def _hand_over(self, connection: socket.socket, session: Session, descriptors: list[int]) -> None:
        session.connection, session.until_s = connection, None
        self._connections[connection] = session
        try:
            socket.send_fds(connection, [encode(Opened(session.name))], descriptors)
        except OSError:
            self._close(connection)
        finally:
            for fd in descriptors:
                os.close(fd)

    def _exited(self, session: Session) -> None:
        if not session.look():
            return
        self._selector.unregister(session.process)
        if session.connection is not None:
            self._tell_exit(session)
        elif session.ending or session.terminal is None:
            self._forget(session)

    def _tell_exit(self, session: Session) -> None:
        if session.connection is not None and session.exit_code is not None:
            self._tell(session.connection, Exited(session.exit_code))
            self._forget(session)

    def _refuse(self, connection: socket.socket, why: Refused) -> None:
        self._tell(connection, why)
        self._close(connection)

    def _tell(self, connection: socket.socket, message: Message) -> None:
        with contextlib.suppress(OSError):  # gone, or does not read: it is closed for that when we look at it
            connection.send(encode(message))

    def _close(self, connection: socket.socket) -> None:
        """A session that has lost its connection waits for another."""
        self._selector.unregister(connection)
        session = self._connections.pop(connection)
        connection.close()
        if session is not None and session.connection is connection:
            session.connection = None
            session.until_s = time.monotonic() + session.resume_s

    def _hang_up(self, session: Session) -> None:
        session.ending = True
        if session.look():
            self._forget(session)
            return
        session.hang_up()
        session.until_s = time.monotonic() + KILLED_AFTER_S

    def _part_from_overdue(self) -> None:
        now_s = time.monotonic()
        for session in [each for each in self._sessions.values() if each.until_s is not None and each.until_s <= now_s]:
            if not session.ending:
                self._hang_up(session)
            else:
                session.kill()
                session.until_s = now_s + KILLED_AFTER_S

    def _forget(self, session: Session) -> None:
        self._sessions.pop(session.name, None)
        if session.connection is not None:
            self._connections[session.connection] = None
            session.connection = None
        if session.process in self._selector.get_map():
            self._selector.unregister(session.process)
        session.forget()
