"""The audit log: JSON lines, each with the hash of the one before.

``python -m taskward.signer.audit FILE`` checks one.

A line is ``{"seq", "time", "previous", "event", …, "hash"}``; ``hash`` is the hex SHA-256 of the compact JSON,
keys sorted, of everything else, and ``previous`` is the hash of the line before (64 zeros at the start). Whoever
owns the host can write the whole chain anew: keep a copy of the newest hash elsewhere now and then.
"""

import argparse
import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from taskward.signer import jsontext
from taskward.signer.errors import BrokenChainError

_BEGINNING: Final = "0" * 64
_MAX_LINE_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Head:
    """The newest line; `seq` counts from 1, 0 is an empty log."""

    seq: int
    hash: str


class AuditLog:
    """An open log, safe for use by several threads; one process at a time. Checked when opened.

    A last line without an end, left by a crash in the middle of writing, is cut off, and the cut is logged: what
    it announced has not happened, since every line is on disk before its event.
    """

    def __init__(
        self,
        file: Path,
        expected: Head | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        torn = self._cut_torn_line()
        self._head = check(file, expected)
        if torn:
            self.append("torn-line", bytes=len(torn), sha256=hashlib.sha256(torn).hexdigest())

    def append(self, event: str, **details: Any) -> Head:
        """Add a line; it is on disk when this returns. Raises OSError: without a log, nothing may be signed."""
        with self._lock:
            line = {
                "seq": self._head.seq + 1,
                "time": self._clock().isoformat(timespec="milliseconds"),
                "previous": self._head.hash,
                "event": event,
                **details,
            }
            line["hash"] = _hash(line)
            self._write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            self._head = Head(line["seq"], line["hash"])
            return self._head

    def close(self) -> None:
        """The log is of no use afterwards."""
        os.close(self._descriptor)

    def _write(self, line: bytes) -> None:
        end = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, line) != len(line):
                raise OSError(f"only a part of {len(line)} bytes could be written")
            os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, end)  # the next line must not continue half a line
            raise

    def _cut_torn_line(self) -> bytes:
        size = os.fstat(self._descriptor).st_size
        end = os.pread(self._descriptor, _MAX_LINE_BYTES, max(0, size - _MAX_LINE_BYTES))
        torn = end.rpartition(b"\n")[2]
        if torn:
            os.ftruncate(self._descriptor, size - len(torn))
        return torn


def check(file: Path, expected: Head | None = None) -> Head:
    """The newest line of a log whose chain holds, and which has the line `expected`; else `BrokenChainError`."""
    head = Head(0, _BEGINNING)
    met = expected is None or expected.seq == 0
    with open(file, "rb") as lines:
        for number, text in enumerate(lines, start=1):
            head = _next(head, text, f"{file}, line {number}")
            met = met or head == expected
    if not met:
        raise BrokenChainError(
            f"{file} ends at line {head.seq}, or has another line {expected and expected.seq}: "
            "it was cut short or rewritten"
        )
    return head


def _next(head: Head, text: bytes, where: str) -> Head:
    try:
        line = jsontext.parse(text)
        stated = line.pop("hash")
        sound = (line["seq"], line["previous"], _hash(line)) == (head.seq + 1, head.hash, stated)
    except (jsontext.BadJsonError, KeyError, AttributeError, TypeError) as error:
        raise BrokenChainError(f"{where}: not a line of an audit log: {error}") from error
    if not sound:
        raise BrokenChainError(f"{where}: the line was changed, or lines before it are missing")
    return Head(line["seq"], stated)


def _hash(line: dict[str, Any]) -> str:
    return hashlib.sha256(jsontext.canonical(line)).hexdigest()


def main() -> int:
    """Exit 0 for a whole chain, 1 for a broken one, 2 for a file that cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m taskward.signer.audit", description="Check an audit log.")
    parser.add_argument("file", type=Path)
    try:
        head = check(parser.parse_args().file)
    except BrokenChainError as error:
        print(f"broken: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        print(f"cannot read the log: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(f"whole: {head.seq} lines, newest hash {head.hash}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
