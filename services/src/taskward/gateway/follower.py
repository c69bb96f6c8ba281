"""One thread that serves all readers of all logs.

A reader costs a socket and a few hundred bytes, not a thread: a thousand idle ones do not keep a new one waiting.
Readers take turns of at most `reader.CHUNK_BYTES`; one that does not read is simply not writable and gets no turn.
"""

import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from taskward.gateway import connection
from taskward.gateway.errors import ReaderLost, TooManyReaders
from taskward.gateway.extent import Extent
from taskward.gateway.farewell import Farewells
from taskward.gateway.limits import Limits
from taskward.gateway.metrics import Metrics
from taskward.gateway.reader import Progress, Reader
from taskward.gateway.watch import SharedLog, Watch

SWEEP_INTERVAL_S: Final = 1.0
NICENESS: Final = 10
"""A task's own work goes before the reading of its log: on a busy machine readers lag instead of slowing the task."""

_GONE: Final = select.EPOLLHUP | select.EPOLLERR
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Seat:
    reader: Reader
    shared: SharedLog
    interest: int = select.EPOLLIN
    listens_for: int = select.EPOLLIN  # nothing, once the peer has said that it will send nothing more


class Follower:
    """Takes sockets over and sends logs to them.

    `start` once, `stop` once; `follow`, `see_off` and `reader_count` may be called from any thread in between. Should
    the thread itself fail (a bug), `on_failure` is called once; then nothing is served any more.
    """

    def __init__(
        self,
        logs_dir: Path,
        limits: Limits,
        metrics: Metrics,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._limits = limits
        self._metrics = metrics
        self._clock_s = clock_s
        self._on_failure = on_failure
        self._watch = Watch(logs_dir)
        self._arrivals: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._seats: dict[int, _Seat] = {}
        self._ready: deque[_Seat] = deque()
        self._half_closed: dict[int, _Seat] = {}  # the longest first
        self._next_sweep_s = 0.0
        self._reader_count = 0
        self._counting = threading.Lock()
        self._stopping = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._wake, select.EPOLLIN)
        self._farewells = Farewells(self._epoll)
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Break off every connection (readers see that the log is incomplete) and end the thread."""
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        os.close(self._wake)

    @property
    def reader_count(self) -> int:
        """How many readers are served now, those on their way to the thread included."""
        return self._reader_count

    @property
    def is_running(self) -> bool:
        """Whether readers are served."""
        return self._thread.is_alive()

    def check_room(self) -> None:
        """Raise TooManyReaders when no further reader may come (requests in other threads may overshoot slightly).

        Those who have closed their side may have gone: they do not keep others out, but make room for them.
        """
        if self._reader_count - len(self._half_closed) >= self._limits.max_readers:
            raise TooManyReaders(f"{self._limits.max_readers} readers already follow logs")

    def follow(self, sock: socket.socket, parts: tuple[str, ...], extent: Extent, *, chunked: bool) -> None:
        """Send `extent` of the log at `parts` to `sock`, whose response head has been sent; `sock` is ours from now."""
        self._count(1)
        self._pass_on(partial(self._admit, sock, parts, extent, chunked))

    def see_off(self, sock: socket.socket) -> None:
        """Close `sock`, which has got its whole answer, without hurting what is on its way; it is ours from now."""
        self._pass_on(partial(self._say_farewell, sock))

    def _count(self, change: int) -> None:
        with self._counting:
            self._reader_count += change
            self._metrics.set("readers", self._reader_count)

    def _pass_on(self, arrival: Callable[[], None]) -> None:
        self._arrivals.put(arrival)
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        # of this thread alone (setpriority(2) on Linux); a process that is nicer already stays so
        os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
        try:
            while not self._stopping:
                self._turn()
        finally:
            if not self._stopping:  # an error is on its way out of the thread
                _log.critical("the follower failed; no reader can be served any more")
                self._on_failure()
            self._close_everything()

    def _turn(self) -> None:
        """One round: wait for something to do, then serve every reader that can go on."""
        for fd, events in self._epoll.poll(self._pause_s()):
            self._on_event(fd, events)
        self._take_arrivals()  # after the events: those are told by descriptors, which arrivals may use anew
        for shared in self._watch.changed(self._clock_s()):
            self._resume_waiting(shared)
        for _ in range(len(self._ready)):
            self._serve(self._ready.popleft())
        if self._clock_s() >= self._next_sweep_s:
            self._sweep()

    def _pause_s(self) -> float | None:
        if self._ready:
            return 0.0
        longest = SWEEP_INTERVAL_S if self._seats or self._farewells else None
        look = self._watch.pause_s(self._clock_s())
        return look if look is not None else longest

    def _on_event(self, fd: int, events: int) -> None:
        if fd == self._wake:
            os.eventfd_read(self._wake)
        elif fd in self._farewells:
            self._farewells.on_event(fd)
        elif seat := self._seats.get(fd):
            if events & _GONE:
                self._drop(seat, "gone")
                return
            if events & select.EPOLLIN and connection.at_end(seat.reader.sock):
                self._hear_no_more(seat)
            if events & select.EPOLLOUT and seat.reader.progress is Progress.BLOCKED:
                self._make_ready(seat)

    def _hear_no_more(self, seat: _Seat) -> None:
        """The peer has closed its side: it has gone, or asks no more and reads on (RFC 9112 §9.6 lets it)."""
        seat.listens_for = 0
        self._half_closed[seat.reader.sock.fileno()] = seat
        self._metrics.set("readers_half_closed", len(self._half_closed))
        connection.doubt(seat.reader.sock)
        self._attend(seat)

    def _take_arrivals(self) -> None:
        while True:
            try:
                arrival = self._arrivals.get_nowait()
            except Empty:
                return
            arrival()

    def _admit(self, sock: socket.socket, parts: tuple[str, ...], extent: Extent, chunked: bool) -> None:
        try:
            connection.prepare(sock)
            self._epoll.register(sock, select.EPOLLIN)
        except OSError:
            self._count(-1)
            self._metrics.dropped("failed")
            connection.break_off(sock)
            return
        self._make_room()
        shared = self._watch.enter(parts)
        seat = _Seat(Reader(sock, shared.log, extent, chunked=chunked, now_s=self._clock_s()), shared)
        self._seats[sock.fileno()] = seat
        self._metrics.add("readers_total")
        self._metrics.set("logs", len(self._watch))
        self._make_ready(seat)

    def _make_room(self) -> None:
        while self._half_closed and self._reader_count > self._limits.max_readers:
            self._drop(next(iter(self._half_closed.values())), "made_room")

    def _make_ready(self, seat: _Seat) -> None:
        seat.reader.progress = Progress.MORE
        self._ready.append(seat)

    def _resume_waiting(self, shared: SharedLog) -> None:
        waiting, shared.waiting = shared.waiting, set()
        for reader in waiting:
            self._make_ready(self._seats[reader.sock.fileno()])

    def _serve(self, seat: _Seat) -> None:
        """Give a reader its turn."""
        reader = seat.reader
        if reader.progress is not Progress.MORE:
            return  # dropped since it became ready
        before = reader.sent_bytes
        try:
            if seat.shared.broken:
                raise ReaderLost(seat.shared.broken)
            reader.advance(self._clock_s())
        except ReaderLost as lost:
            self._drop(seat, lost.reason)
            return
        finally:
            self._metrics.add("sent_bytes_total", reader.sent_bytes - before)
        self._settle(seat)

    def _settle(self, seat: _Seat) -> None:
        """Arrange what brings the reader its next turn."""
        progress = seat.reader.progress
        if progress is Progress.ENDED:
            self._metrics.add("readers_completed_total")
            self._say_farewell(self._unseat(seat))
            return
        if progress is Progress.MORE:
            self._ready.append(seat)
        elif progress is Progress.CAUGHT_UP:
            seat.shared.waiting.add(seat.reader)
        self._attend(seat)

    def _attend(self, seat: _Seat) -> None:
        """Have the kernel report what matters now, and nothing else."""
        blocked = seat.reader.progress is Progress.BLOCKED
        interest = seat.listens_for | (select.EPOLLOUT if blocked else 0)
        if interest != seat.interest:
            seat.interest = interest
            self._epoll.modify(seat.reader.sock, interest)

    def _drop(self, seat: _Seat, reason: str) -> None:
        """Break off a reader that cannot get everything."""
        self._metrics.dropped(reason)
        connection.break_off(self._unseat(seat))

    def _unseat(self, seat: _Seat) -> socket.socket:
        sock = seat.reader.sock
        seat.reader.progress = Progress.ENDED
        self._epoll.unregister(sock)
        del self._seats[sock.fileno()]
        self._half_closed.pop(sock.fileno(), None)
        self._metrics.set("readers_half_closed", len(self._half_closed))
        self._watch.leave(seat.shared, seat.reader)
        self._metrics.set("logs", len(self._watch))
        self._count(-1)
        return sock

    def _say_farewell(self, sock: socket.socket) -> None:
        self._farewells.begin(sock, self._clock_s())

    def _sweep(self) -> None:
        """Part from those whose time is over."""
        now_s = self._clock_s()
        self._next_sweep_s = now_s + SWEEP_INTERVAL_S
        self._farewells.sweep(now_s)
        for seat in list(self._seats.values()):
            if reason := self._overdue(seat, now_s):
                self._drop(seat, reason)

    def _overdue(self, seat: _Seat, now_s: float) -> str | None:
        still_s = now_s - seat.reader.moved_at_s
        if seat.reader.progress is Progress.BLOCKED:
            return "stalled" if still_s > self._limits.stall_timeout_s else None
        if seat.shared.log.fd is None:
            return "never_came" if still_s > self._limits.prepare_timeout_s else None
        return "silent" if still_s > self._limits.idle_timeout_s else None

    def _close_everything(self) -> None:
        self._take_arrivals()
        for seat in list(self._seats.values()):
            self._drop(seat, "stopping")
        self._farewells.close()
        self._epoll.close()
