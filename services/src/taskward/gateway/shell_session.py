"""A shell on the gateway's side: its descriptors, what it has printed, and how it ended.

It belongs to the event loop and outlives web sockets: between two of them it goes on printing into its `Output`.
"""

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from typing import Final

from taskward.core.ids import RunId
from taskward.core.shell import Ended, Exited
from taskward.gateway.shell_host import Host
from taskward.gateway.shell_output import Output

AHEAD_BYTES: Final = 1 << 18
"""How far a shell may be ahead of a reader that is connected; then its output waits, and so does the shell."""

_DRAIN_S: Final = 0.3
_READY_WITHIN_S: Final = 2.0
_READY_PAUSE_S: Final = 0.002
_LOCAL_FLAGS: Final = 3


class Seat:
    """A web socket that is connected to a session: `dismissed` asks it to go, with a closing code and a reason."""

    def __init__(self) -> None:
        self.dismissed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.left = asyncio.Event()

    def dismiss(self, code: int, reason: str) -> None:
        """Ask it to go; `left` tells when it does not use the session any more."""
        if not self.dismissed.done():
            self.dismissed.set_result((code, reason))


class Session:
    """See the module's text.

    Attributes:
        outputs: a terminal, or standard output and error.
        seat: the web socket that is connected now.
        over: how it ended; set once everything that it printed is in `outputs`.
    """

    def __init__(self, run: RunId, host: Host, first_offset: int = 0) -> None:
        self.run, self.name = run, host.session
        self.seat: Seat | None = None
        self.over: Exited | Ended | None = None
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._input: int | None = host.descriptors[0]
        self._is_terminal = len(host.descriptors) == 1
        readable = host.descriptors if self._is_terminal else host.descriptors[1:]
        self.outputs: tuple[Output, ...] = tuple(Output(fd, first_offset) for fd in readable)
        self._news: Exited | Ended | None = None
        self._changed = asyncio.Event()
        self._held: set[Output] = set()
        self._dropped = False
        os.set_blocking(host.descriptors[0], False)
        for output in self.outputs:
            self._loop.add_reader(output.fd, self._pull, output)
        self._loop.add_reader(host.fileno(), self._hear)

    async def change(self) -> None:
        """Waits until something was printed or the shell is over."""
        self._changed.clear()
        await self._changed.wait()

    def served(self, output: Output, offset: int) -> None:
        """The reader has what comes before `offset`: a shell that was held may go on."""
        output.taken = offset
        if output in self._held and output.end - offset < AHEAD_BYTES:
            self._release(output)

    def join(self, seat: Seat, offset: int) -> int:
        """`seat` reads from now on; returns where it begins: at `offset`, or at what is nearest to it here."""
        self.seat = seat
        for output in self.outputs:
            output.taken = min(max(offset, output.start), output.end)
        return self.outputs[0].taken

    def leave(self) -> None:
        """Nobody is connected any more, so nothing holds the shell."""
        self.seat = None
        for output in list(self._held):
            self._release(output)

    async def until_ready(self) -> None:
        """Waits until the shell has its terminal in hand: what is typed before would be echoed twice."""
        deadline_s = self._loop.time() + _READY_WITHIN_S
        while self._is_cooked() and self._loop.time() < deadline_s:
            await asyncio.sleep(_READY_PAUSE_S)

    def offer(self, data: bytes) -> bytes:
        """What the user types; returns what the shell does not take now."""
        if self._input is None:
            return b""
        try:
            return data[os.write(self._input, data) :]
        except BlockingIOError:
            return data
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        """What the user types; waits while the shell does not read. Nobody hears it once the shell is over."""
        view = memoryview(data)
        while view and self._input is not None:
            try:
                view = view[os.write(self._input, view) :]
            except BlockingIOError:
                await self._writable(self._input)
            except OSError:
                return

    def close_input(self) -> None:
        """No more input: the end of the pipe, or the character that stands for it on a terminal."""
        if self._input is None:
            return
        if self._is_terminal:
            with contextlib.suppress(OSError):
                os.write(self._input, b"\x04")
        else:
            os.close(self._input)
            self._input = None

    def resize(self, rows: int, columns: int) -> None:
        """The terminal's size; programs in it get SIGWINCH when it changes."""
        if self._is_terminal and self._input is not None:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._input, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self) -> None:
        """The shell is hung up."""
        self._host.end()
        self.drop()

    def drop(self) -> None:
        """Lets go of it without ending it: whoever comes within its time may attach again. Once is enough."""
        if self._dropped:
            return
        self._dropped = True
        self._stop_hearing()
        for output in self.outputs:
            self._loop.remove_reader(output.fd)
            os.close(output.fd)
        if not self._is_terminal and self._input is not None:
            os.close(self._input)
        self._input = None
        self.outputs = ()
        self._host.close()

    def _pull(self, output: Output) -> None:
        output.pull()
        if output.closed:
            self._loop.remove_reader(output.fd)
            if self._news is not None and all(each.closed for each in self.outputs):
                self._finish()
        elif self.seat is not None and output.end - output.taken >= AHEAD_BYTES:
            self._loop.remove_reader(output.fd)
            self._held.add(output)
        self._changed.set()

    def _release(self, output: Output) -> None:
        self._held.discard(output)
        if not output.closed:
            self._loop.add_reader(output.fd, self._pull, output)

    def _hear(self) -> None:
        news = self._host.news()
        if news is None:
            return
        self._news = news
        self._stop_hearing()
        if all(output.closed for output in self.outputs):
            self._finish()
        else:  # a program in the background may hold the terminal open for ever
            self._loop.call_later(_DRAIN_S, self._finish)

    def _stop_hearing(self) -> None:
        self._loop.remove_reader(self._host.fileno())

    def _finish(self) -> None:
        self.over = self._news
        self._changed.set()

    def _is_cooked(self) -> bool:
        if not self._is_terminal or self._input is None or self._news is not None:
            return False
        try:
            return bool(termios.tcgetattr(self._input)[_LOCAL_FLAGS] & termios.ICANON)
        except (OSError, termios.error):
            return False

    async def _writable(self, fd: int) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(fd, _resolve, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(fd)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
