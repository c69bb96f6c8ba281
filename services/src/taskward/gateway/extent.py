"""Which part of a log a request wants: pure functions, no file and no socket.

=========================  ==========================================================================================
request                    answer while the task runs; in brackets when it differs once the log is finished
=========================  ==========================================================================================
nothing                    200, from the start, then following until the log is finished
``?offset=N``              200, from byte N on, then following; N may lie ahead of the end (finished: an empty body)
``?tail=N``                200, the last N lines, then following
``Range: bytes=N-``        206, from byte N on, then following; N may lie ahead of the end (finished: 416 from there)
``Range: bytes=-N``        206, the last N bytes, then following
``Range: bytes=N-M``       206, at once what there is of it, never waiting; 416 when there is nothing of it
``?follow=0``              with any of these: only what there is now, never waiting
=========================  ==========================================================================================

A part that is followed has no end yet. Its ``Content-Range`` is ``bytes N-9007199254740991/*`` as RFC 8673 (random
access and live content) has it; ``bytes=N-9007199254740991`` asks for the same. A log without an end is ``/*``, a
finished one ``/<size>``. As RFC 9110 §14.2 allows, a Range of another unit, of several parts, or that is no range at
all is ignored; so is one with ``If-Range``, for a log has no validator to compare (§13.1.5).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from taskward.gateway.errors import InvalidWish, Unsatisfiable

LIVE_END: Final = 2**53 - 1
"""Stands for "an end that is not known yet" (RFC 8673 §2); the largest integer that JavaScript holds exactly."""

MAX_TAIL_LINES: Final = 1_000_000
MAX_TAIL_SCAN_BYTES: Final = 16 * 2**20
"""A tail never reads back further than this; a longer one starts here, in the middle of a line perhaps."""

_SCAN_STEP_BYTES: Final = 64 * 1024
_RANGE: Final = re.compile(r"bytes=([0-9]{0,30})-([0-9]{0,30})", re.IGNORECASE | re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True)
class FromOffset:
    """From byte `first` on, to the end."""

    first: int


@dataclass(frozen=True)
class Between:
    """Bytes `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True)
class LastBytes:
    """The last `count` bytes and what follows."""

    count: int


@dataclass(frozen=True)
class LastLines:
    """The last `count` lines and what follows."""

    count: int


@dataclass(frozen=True)
class Wish:
    """What a request asks for, before anything is known about the file.

    `follow` is whether it wants what is still to come; `partial` whether it asked by ``Range`` (so 206, not 200).
    """

    part: FromOffset | Between | LastBytes | LastLines = FromOffset(0)
    follow: bool = True
    partial: bool = False


@dataclass(frozen=True)
class Extent:
    """The part of a file to send: from byte `start` up to, not including, `end`; None follows until it is finished."""

    start: int
    end: int | None
    content_range: str | None = None

    @property
    def length_bytes(self) -> int | None:
        """How many bytes that is; None while nobody knows."""
        return None if self.end is None else self.end - self.start


def parse(args: Mapping[str, str], range_header: str | None = None, if_range: str | None = None) -> Wish:
    """The wish that the query and the ``Range`` header of a request express.

    Raises:
        InvalidWish: a parameter has no sense or contradicts another; answer 400 with its text.
    """
    chosen = [name for name in ("offset", "tail") if name in args]
    if len(chosen) > 1:
        raise InvalidWish("give one of ?offset= and ?tail=, not both")
    follow = _follow(args.get("follow", "1"))
    if "offset" in args:
        return Wish(FromOffset(_number("offset", args["offset"], LIVE_END)), follow)
    if "tail" in args:
        return Wish(LastLines(_number("tail", args["tail"], MAX_TAIL_LINES)), follow)
    part = _range_part(range_header) if range_header and not if_range else None
    return Wish(part, follow, partial=True) if part else Wish(follow=follow)


def resolve(wish: Wish, size_bytes: int, *, finished: bool, line_start: Callable[[int], int]) -> Extent:
    """The extent that fulfils `wish` in a log that holds `size_bytes` now and may grow unless `finished`.

    `line_start(count)` tells where the last `count` lines begin.

    Raises:
        Unsatisfiable: nothing of the wanted range exists; answer 416.
    """
    closed = isinstance(wish.part, Between)
    follows = wish.follow and not finished and not closed
    start = _start(wish.part, size_bytes, line_start)
    if not follows and start >= size_bytes:
        if wish.partial:
            raise Unsatisfiable(size_bytes)
        start = size_bytes
    end = None if follows else _end(wish.part, size_bytes)
    if not wish.partial:
        return Extent(start, end)
    last = LIVE_END if end is None else end - 1
    return Extent(start, end, f"bytes {start}-{last}/{size_bytes if finished else '*'}")


def last_lines_start(read: Callable[[int, int], bytes], size_bytes: int, count: int) -> int:
    """Where the last `count` lines begin in a file of `size_bytes` that `read(offset, length)` reads.

    A last line without a newline is a line. At most `MAX_TAIL_SCAN_BYTES` are read, from the end backwards.
    """
    if count <= 0:
        return size_bytes
    floor = max(0, size_bytes - MAX_TAIL_SCAN_BYTES)
    position = size_bytes - 1  # a newline that ends the file begins no line
    while position > floor:
        begin = max(floor, position - _SCAN_STEP_BYTES)
        block = read(begin, position - begin)
        newlines = block.count(b"\n")
        if newlines >= count:
            return begin + _after_newline(block, newlines - count)
        count -= newlines
        position = begin
    return floor


def _after_newline(block: bytes, skip: int) -> int:
    """Position just behind newline number `skip` (from 0) of `block`."""
    at = -1
    for _ in range(skip + 1):
        at = block.index(b"\n", at + 1)
    return at + 1


def _start(part: FromOffset | Between | LastBytes | LastLines, size: int, line_start: Callable[[int], int]) -> int:
    match part:
        case FromOffset(first) | Between(first, _):
            return first
        case LastBytes(count):
            return max(0, size - count)
        case LastLines(count):
            return line_start(count)


def _end(part: FromOffset | Between | LastBytes | LastLines, size: int) -> int:
    return min(part.last + 1, size) if isinstance(part, Between) else size


def _range_part(header: str) -> FromOffset | Between | LastBytes | None:
    """The single byte range that `header` asks for; None when it has to be ignored."""
    matched = _RANGE.fullmatch(header.strip())
    if not matched or matched[1] == matched[2] == "":
        return None
    first, last = matched[1], matched[2]
    if not first:
        return LastBytes(int(last))
    if not last or int(last) >= LIVE_END:
        return FromOffset(int(first))
    return Between(int(first), int(last)) if int(first) <= int(last) else None


def _number(name: str, text: str, maximum: int) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > maximum:
        raise InvalidWish(f"?{name}={text[:40]} is not a whole number from 0 to {maximum}")
    return int(text)


def _follow(text: str) -> bool:
    if text not in {"0", "1"}:
        raise InvalidWish(f"?follow={text[:40]} is neither 0 nor 1")
    return text == "1"
