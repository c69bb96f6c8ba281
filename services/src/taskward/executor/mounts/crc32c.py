"""CRC-32C (Castagnoli), masked as framed Snappy and MinLZ have it.

The library for Snappy computes it for each of its blocks, a hundred times as fast as Python could; checksums of blocks
that lie one behind the other make up that of the whole, since a CRC is linear.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

_POLYNOMIAL: Final = 0x82F63B78
_MASK: Final = 0xA282EAD8
_BLOCK_BYTES: Final = 1 << 16
_CHECKSUM: Final = slice(14, 18)
"""Of the first block in a stream: behind the stream's ten bytes of beginning and the four of the block's head."""


def masked(data: bytes | bytearray) -> int:
    """The checksum: rotated right by 15 bits, and the constant added."""
    value = crc32c(data)
    return ((value >> 15 | value << 17) + _MASK) & 0xFFFFFFFF


def crc32c(data: bytes | bytearray) -> int:
    """RFC 3720, appendix B.4."""
    import cramjam

    library: Any = cramjam.snappy
    value = 0
    for start in range(0, len(data), _BLOCK_BYTES):
        block = data[start : start + _BLOCK_BYTES]
        framed = bytes(library.compress(block))
        value = _behind(value, len(block)) ^ _unmasked(int.from_bytes(framed[_CHECKSUM], "little"))
    return value


def _unmasked(value: int) -> int:
    value = (value - _MASK) & 0xFFFFFFFF
    return (value >> 17 | value << 15) & 0xFFFFFFFF


def _behind(value: int, size_bytes: int) -> int:
    """What `value` adds to the checksum of data that has `size_bytes` more behind it."""
    moved = 0
    for bit, column in enumerate(_advance(size_bytes)):
        if value >> bit & 1:
            moved ^= column
    return moved


@cache
def _advance(size_bytes: int) -> Sequence[int]:
    """What each of the 32 bits becomes by as many bytes of zero: a matrix over GF(2), by squaring."""
    step: Sequence[int] = [_POLYNOMIAL, *(1 << bit for bit in range(31))]  # one bit of zero
    result: Sequence[int] = [1 << bit for bit in range(32)]
    count = size_bytes * 8
    while count:
        if count & 1:
            result = [_times(step, column) for column in result]
        step = [_times(step, column) for column in step]
        count >>= 1
    return result


def _times(matrix: Sequence[int], vector: int) -> int:
    total = 0
    for bit, column in enumerate(matrix):
        if vector >> bit & 1:
            total ^= column
    return total
