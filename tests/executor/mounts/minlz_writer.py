"""Writes MinLZ as its specification describes it: each operation by name, blocks, chunks, streams.

`operations` compresses badly but in every way: which of the operations that would do is taken is drawn by lot.
"""

import random
from collections.abc import Iterator
from typing import Final

from taskward.executor.mounts.crc32c import masked

BLOCK_BYTES: Final = 1 << 20
_SIZE_CODE: Final = 10
_LONG_LITERALS, _LONG_COPY, _LONG_COPY1 = 30, 64, 18
_LONGEST_COPY1, _LONGEST_FUSED2 = 273, 11
_COPY1_REACH, _COPY2_NEAREST, _COPY2_REACH = 1024, 64, 65_599
_COPY3_NEAREST, _COPY3_REACH = 65_536, 2_162_687
_SHORTEST: Final = 4


def literals(data: bytes) -> bytes:
    """Section 2.1, with the repeat bit clear."""
    return _tag0(len(data), repeat=0) + data


def repeat(length: int) -> bytes:
    """Section 2.1, with the repeat bit set."""
    return _tag0(length, repeat=1)


def _tag0(length: int, repeat: int) -> bytes:
    if length < _LONG_LITERALS:
        return bytes([(length - 1) << 3 | repeat << 2])
    width = _width(length - _LONG_LITERALS)
    return bytes([(28 + width) << 3 | repeat << 2]) + (length - _LONG_LITERALS).to_bytes(width, "little")


def copy1(offset: int, length: int) -> bytes:
    """Section 2.3: lengths of 4 to 273, offsets of 1 to 1024."""
    value = min(length - _SHORTEST, 15)
    head = bytes([((offset - 1) & 3) << 6 | value << 2 | 1, (offset - 1) >> 2])
    return head if value < 15 else head + bytes([length - _LONG_COPY1])


def copy2(offset: int, length: int) -> bytes:
    """Section 2.4: offsets of 64 to 65 599."""
    value, more = _copy_length(length)
    return bytes([value << 2 | 2]) + (offset - _COPY2_NEAREST).to_bytes(2, "little") + more


def fused_copy2(before: bytes, offset: int, length: int) -> bytes:
    """Section 2.5.1: one to four literals, lengths of 4 to 11."""
    head = (length - _SHORTEST) << 5 | (len(before) - 1) << 3 | 3
    return bytes([head]) + (offset - _COPY2_NEAREST).to_bytes(2, "little") + before


def copy3(offset: int, length: int, before: bytes = b"") -> bytes:
    """Section 2.5.2: up to three literals, offsets of 65 536 to 2 162 687."""
    value, more = _copy_length(length)
    word = (offset - _COPY3_NEAREST) << 11 | value << 5 | len(before) << 3 | 4 | 3
    return word.to_bytes(4, "little") + more + before


def _copy_length(length: int) -> tuple[int, bytes]:
    if length < _LONG_COPY + 1:
        return length - _SHORTEST, b""
    width = _width(length - _LONG_COPY)
    return 60 + width, (length - _LONG_COPY).to_bytes(width, "little")


def _width(number: int) -> int:
    return max(1, (number.bit_length() + 7) // 8)


def varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def chunk(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "little") + body


def identifier(size_code: int = _SIZE_CODE) -> bytes:
    return chunk(0xFF, b"MinLz" + bytes([size_code]))


def plain(data: bytes) -> bytes:
    return chunk(1, masked(data).to_bytes(4, "little") + data)


def block(data: bytes, compressed: bytes) -> bytes:
    """With the checksum of what it was."""
    return chunk(2, masked(data).to_bytes(4, "little") + varint(len(data)) + compressed)


def end(size: int) -> bytes:
    return chunk(0x20, varint(size))


def stream(data: bytes, compressed: bytes) -> bytes:
    """Of one block."""
    return identifier() + block(data, compressed) + end(len(data))


def compress(data: bytes, seed: int = 1) -> bytes:
    """A stream of as many blocks as it takes; one that does not become smaller stays as it is."""
    parts, rng = [identifier()], random.Random(seed)
    for start in range(0, len(data), BLOCK_BYTES):
        piece = data[start : start + BLOCK_BYTES]
        smaller = b"".join(operations(piece, rng))
        parts.append(block(piece, smaller) if len(smaller) <= len(piece) else plain(piece))
    return b"".join([*parts, end(len(data))])


def operations(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """What makes a decoder write `data`."""
    seen: dict[bytes, int] = {}
    at = done = 0
    last = 1
    while at < len(data):
        found = (
            at - last if data[at : at + 4] == data[max(0, at - last) : at - last + 4] else seen.get(data[at : at + 4])
        )
        seen[data[at : at + 4]] = at
        if found is None or found < 0 or found == at or len(data) - at < _SHORTEST or at - found > _COPY3_REACH:
            at += 1
            continue
        length = _common(data, found, at)
        made, length = _copy(data[done:at], at - found, length, last, rng)
        yield made
        last = at - found
        at += length
        done = at
    if done < len(data):
        yield literals(data[done:])


def _common(data: bytes, first: int, second: int) -> int:
    """How many bytes from both places are the same; in leaps that double."""
    length = leap = _SHORTEST
    while leap:
        if data[first + length : first + length + leap] == data[second + length : second + length + leap]:
            length += leap
            leap *= 2
        else:
            leap //= 4
        leap = min(leap, len(data) - second - length)
    return length


def _copy(before: bytes, offset: int, length: int, last: int, rng: random.Random) -> tuple[bytes, int]:
    """Literals and a copy in one of the ways there are; how much the copy covers."""
    ways = ["repeat"] * 2 if offset == last else []
    if offset <= _COPY1_REACH:
        ways.append("copy1")
    if _COPY2_NEAREST <= offset <= _COPY2_REACH:
        ways += ["copy2", "fused2"] if before else ["copy2"]
    if offset >= _COPY3_NEAREST:
        ways += ["copy3"]
    way = rng.choice(ways)
    fused = before[-rng.randint(1, 4) :] if way == "fused2" else before[len(before) - rng.randint(0, 3) :]
    match way:
        case "repeat":
            return _before(before) + repeat(length), length
        case "copy1":
            return _before(before) + copy1(offset, min(length, _LONGEST_COPY1)), min(length, _LONGEST_COPY1)
        case "copy2":
            return _before(before) + copy2(offset, length), length
        case "fused2":
            length = min(length, _LONGEST_FUSED2)
            return _before(before[: len(before) - len(fused)]) + fused_copy2(fused, offset, length), length
        case _:
            fused = fused if len(fused) <= 3 else b""
            return _before(before[: len(before) - len(fused)]) + copy3(offset, length, fused), length


def _before(data: bytes) -> bytes:
    return literals(data) if data else b""
