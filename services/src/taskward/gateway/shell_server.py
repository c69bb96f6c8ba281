"""All web sockets, shells and views of displays of the gateway: one thread with an event loop."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from websockets.http11 import Response

from taskward.core.ids import RunId
from taskward.core.shell import Attach, Ended, Exited, Open, Show
from taskward.gateway import connection
from taskward.gateway.errors import SessionOver, ShellRefused
from taskward.gateway.metrics import Metrics
from taskward.gateway.shell_channel import Channel
from taskward.gateway.shell_host import ask
from taskward.gateway.shell_session import Seat, Session
from taskward.gateway.shell_talk import Pixels, Streams, Talk, Terminal, pieces

NORMAL, GOING_AWAY, RESTARTING, TAKEN_OVER = 1000, 1001, 1012, 4409
_STOPS_WITHIN_S: Final = 5.0
_LISTED_WITHIN_S: Final = 8.0
_LEAVES_WITHIN_S: Final = 2.0
_LONGEST_LIST: Final = 1 << 16

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """What a web socket wants.

    Attributes:
        run: whose shell.
        version: of the protocol, 1 or 2.
        session: the one to go on with; empty for a new one.
        offset: how much of that the peer has had.
        keeps: whether the peer can come back: its shell waits for it.
        argv: a program instead of the usual shell (version 1).
        terminal: whether it has one.
        display: one to be shown, instead of a shell.
    """

    run: RunId
    version: int
    session: str = ""
    offset: int = 0
    keeps: bool = False
    argv: tuple[str, ...] = ()
    terminal: bool = True
    display: str = ""

    def wish(self, resume_s: float) -> Open | Attach | Show:
        """What the executor is asked for."""
        if self.display:
            return Show(self.display)
        if self.session:
            return Attach(self.session)
        return Open(self.argv, self.terminal, resume_s if self.keeps else 0.0)


class ShellServer:
    """`start` once, `stop` once; `take` from any thread in between."""

    def __init__(self, socket_of: Callable[[RunId], Path], resume_s: float, heartbeat_s: float,
                 metrics: Metrics) -> None:  # fmt: skip
        self._socket_of, self._resume_s, self._heartbeat_s = socket_of, resume_s, heartbeat_s
        self._metrics = metrics
        logging.getLogger("websockets").setLevel(logging.WARNING)  # it tells of each connection otherwise
        self._sessions: dict[str, Session] = {}
        self._farewells: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="shells", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Close every web socket so that its peer comes back (1012); shells wait for them with the executor."""
        with suppress(RuntimeError):  # the loop is closed already
            asyncio.run_coroutine_threadsafe(self._close_all(), self._loop).result(_STOPS_WITHIN_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOPS_WITHIN_S)

    def take(self, sock: socket.socket, answer: Response, call: Call) -> None:
        """Serve a web socket whose handshake is accepted and gets `answer`; `sock` is ours from now on."""
        self._loop.call_soon_threadsafe(lambda: self._spawn(self._serve(sock, answer, call)))

    def take_question(self, sock: socket.socket, run: RunId, answer: Callable[[bytes | ShellRefused], bytes]) -> None:
        """Send `answer` of the list of the run's displays, or of why there is none; `sock` is ours from now on."""
        self._loop.call_soon_threadsafe(lambda: self._spawn(self._reply(sock, run, answer)))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("a web socket failed", exc_info=error)

    async def _serve(self, sock: socket.socket, answer: Response, call: Call) -> None:
        try:
            channel = await Channel.open(sock, answer, self._heartbeat_s)
        except OSError:
            sock.close()
            return
        talk = _talk(channel, call)
        try:
            session = await self._session(call)
        except ShellRefused as refused:
            self._metrics.add("shells_refused_total")
            with suppress(ConnectionError):
                await talk.refuse(str(refused))
            await channel.close(refused.code, str(refused))
            return
        await self._converse(session, channel, talk, call)

    async def _session(self, call: Call) -> Session:
        """The shell that `call` wants.

        Raises:
            ShellRefused: there is none.
        """
        known = self._sessions.get(call.session)
        if known is not None and known.run == call.run:
            self._metrics.add("shells_resumed_total")
            return known
        host = await asyncio.to_thread(ask, self._socket_of(call.run), call.wish(self._resume_s))
        session = Session(call.run, host, call.offset)
        self._sessions[session.name] = session
        self._metrics.set("shells", len(self._sessions))
        self._metrics.add(
            "displays_total" if call.display else "shells_resumed_total" if call.session else "shells_total"
        )
        return session

    async def _reply(self, sock: socket.socket, run: RunId, answer: Callable[[bytes | ShellRefused], bytes]) -> None:
        try:
            connection.prepare(sock)
            reader, writer = await asyncio.open_connection(sock=sock)
        except OSError:
            sock.close()
            return
        try:
            writer.write(answer(await self._displays(run)))
            writer.write_eof()
            async with asyncio.timeout(_LEAVES_WITHIN_S):
                while await reader.read(1 << 16):
                    pass
        except (OSError, TimeoutError):
            return
        finally:
            writer.transport.abort()

    async def _displays(self, run: RunId) -> bytes | ShellRefused:
        """What the container says, as far as it says it in time."""
        try:
            host = await asyncio.to_thread(ask, self._socket_of(run), Show(""))
        except ShellRefused as refused:
            return refused
        session, found = Session(run, host), b""
        session.join(Seat(), 0)
        try:
            async with asyncio.timeout(_LISTED_WITHIN_S):
                async for number, piece in pieces(session):
                    found += piece if number == 0 else b""
                    if len(found) > _LONGEST_LIST:
                        break
        except TimeoutError:
            _logger.warning("the displays of a run were not listed in time", extra={"run": run.key})
        finally:
            session.end()
        return found

    async def _converse(self, session: Session, channel: Channel, talk: Talk, call: Call) -> None:
        while session.seat is not None:
            session.seat.dismiss(TAKEN_OVER, "another connection goes on with this session")
            await session.seat.left.wait()
        if session.name not in self._sessions:  # ended while we waited
            await channel.close(SessionOver.code, str(SessionOver()))
            return
        if farewell := self._farewells.pop(session.name, None):
            farewell.cancel()
        seat = Seat()
        missed = session.join(seat, call.offset) - call.offset
        sending = asyncio.ensure_future(talk.send(session, max(0, missed)))
        taking = asyncio.ensure_future(_take_all(talk, session, channel))
        try:
            await _first(sending, taking, seat.dismissed, channel.lost)
        finally:
            await _end(sending)
            await _end(taking)
            session.leave()
            seat.left.set()
        closing = seat.dismissed.result() if seat.dismissed.done() else _closing(session)
        if closing[0] == RESTARTING:
            session.drop()  # before the peer hears of it: what is printed from now on is for its next connection
        if not seat.dismissed.done():
            self._part(session, channel, call)
        await channel.close(*closing)

    def _part(self, session: Session, channel: Channel, call: Call) -> None:
        """The web socket goes by itself; what becomes of its shell?"""
        if session.over is not None or channel.left_for_good or not call.keeps:
            self._end(session)
        else:
            self._farewells[session.name] = self._loop.call_later(self._resume_s, self._end, session)

    def _end(self, session: Session) -> None:
        self._farewells.pop(session.name, None)
        self._sessions.pop(session.name, None)
        self._metrics.set("shells", len(self._sessions))
        session.end()

    async def _close_all(self) -> None:
        sessions = list(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            if session.seat is not None:
                session.seat.dismiss(RESTARTING, "the gateway restarts")
            else:
                session.drop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_STOPS_WITHIN_S / 2)
        for session in sessions:
            session.drop()


def _talk(channel: Channel, call: Call) -> Talk:
    if call.display:
        return Pixels(channel)
    return Streams(channel) if call.version == 1 else Terminal(channel, announced=call.keeps)


async def _first(*futures: "asyncio.Future[Any]") -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


async def _take_all(talk: Talk, session: Session, channel: Channel) -> None:
    while (message := await channel.receive()) is not None:
        await talk.take(session, message)


async def _end(task: "asyncio.Future[None]") -> None:
    """A direction that is not needed any more; a peer that is gone is no error."""
    task.cancel()
    with suppress(asyncio.CancelledError, ConnectionError):
        await task


def _closing(session: Session) -> tuple[int, str]:
    match session.over:
        case Exited(exit_code=code):
            return NORMAL, f"exit code {code}"
        case Ended(reason=reason):
            return GOING_AWAY, reason
        case None:
            return NORMAL, ""
