"""Standard output and error of a command: their failures are told apart from those of everything else."""

import errno
import io
import os
import select
import sys
from typing import Any, Final, TextIO

import click

_COLOURLESS: Final = "dumb"


class OutputLost(Exception):
    """Standard output or error takes no more; `reason` is the system's. No OSError: nobody takes it for another's."""

    def __init__(self, descriptor: int, error: OSError) -> None:
        super().__init__(f"the output cannot be written: {error.strerror}")
        self.descriptor, self.reason = descriptor, error.errno

    def tell(self) -> None:
        """Says so on standard error, with the notes of whoever passed it on; nothing when the reader has gone.

        What still waits to be written is given up.
        """
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.descriptor)
        notes: list[str] = getattr(self, "__notes__", [])
        if self.reason != errno.EPIPE or notes:
            click.echo("; ".join((f"Error: {self}", *notes)), err=True)


class _Descriptor(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            while (written := super().write(data)) is None:  # a full pipe that another of its users made non-blocking
                select.select((), (self,), ())
            return written
        except OSError as error:
            raise OutputLost(self.fileno(), error) from error


def guard() -> None:
    """Makes both raise `OutputLost`. What is closed, standard input too, becomes /dev/null before a file or socket gets
    its number.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = _guarded(sys.stdout, 1), _guarded(sys.stderr, 2)


def _guarded(stream: TextIO | None, descriptor: int) -> TextIO:
    like: Any = stream or sys.__stdout__ or sys.__stderr__
    encoding, errors = (like.encoding, like.errors) if like else ("utf-8", "backslashreplace")
    raw = io.BufferedWriter(_Descriptor(descriptor, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding, errors, line_buffering=True)


def colour() -> bool | None:
    """For Click: no colours where the environment has NO_COLOR (https://no-color.org) or a dumb terminal, else None,
    colours at terminals only.
    """
    unwanted = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == _COLOURLESS
    return False if unwanted else None
