"""A block of MinLZ: literals, and copies of what came before (``SPEC.md`` of minio/minlz, "Block format")."""

from typing import Final

_LITERALS_ARE_LONG: Final = 30
_COPY1_IS_LONG: Final = 19
_COPY_IS_LONG: Final = 65
_COPY1_LONG_FROM: Final = 18
_COPY_LONG_FROM: Final = 64
_COPY2_OFFSET_FROM: Final = 64
_COPY3_OFFSET_FROM: Final = 1 << 16


class BlockError(ValueError):
    """A block is damaged.

    Attributes:
        at: where the operation begins that cannot be.
    """

    def __init__(self, at: int, why: str) -> None:
        super().__init__(why)
        self.at = at


def expand(data: bytes, at: int, size: int) -> bytearray:
    """What the operations from `data[at]` on make; exactly `size` bytes, never many more meanwhile.

    All in one loop: a call for each operation would take longer than the operation.

    Raises:
        BlockError: they make something else, or are none.
    """
    out, end, began, offset = bytearray(), len(data), at, 1
    try:
        while at < end:
            began = at
            tag = data[at]
            kind = tag & 3
            if kind == 0:  # literals, or a copy with the last offset
                length = (tag >> 3) + 1
                at += 1
                if length >= _LITERALS_ARE_LONG:
                    length, at = _long(data, at, length - 29, 30)
                if not tag & 4:
                    out += data[at : at + length]
                    at += length
                    continue
            elif kind == 1:  # an offset of ten bits
                length = (tag >> 2 & 15) + 4
                offset = (tag >> 6 | data[at + 1] << 2) + 1
                at += 2
                if length == _COPY1_IS_LONG:
                    length, at = _long(data, at, 1, _COPY1_LONG_FROM)
            elif kind == 2:  # of 16 bits
                length = (tag >> 2) + 4
                offset = (data[at + 1] | data[at + 2] << 8) + _COPY2_OFFSET_FROM
                at += 3
                if length >= _COPY_IS_LONG:
                    length, at = _long(data, at, length - 64, _COPY_LONG_FROM)
            elif tag & 4:  # of 21 bits; before it up to three literals
                word = int.from_bytes(data[at : at + 4], "little")
                length = (word >> 5 & 63) + 4
                offset = (word >> 11) + _COPY3_OFFSET_FROM
                at += 4
                if length >= _COPY_IS_LONG:
                    length, at = _long(data, at, length - 64, _COPY_LONG_FROM)
                literals = tag >> 3 & 3
                out += data[at : at + literals]
                at += literals
            else:  # of 16 bits; before it one to four literals
                length = (tag >> 5) + 4
                offset = (data[at + 1] | data[at + 2] << 8) + _COPY2_OFFSET_FROM
                literals = (tag >> 3 & 3) + 1
                out += data[at + 3 : at + 3 + literals]
                at += 3 + literals
            here = len(out)
            if offset > here or here + length > size or at > end:
                raise BlockError(began, _why_not(at > end, offset > here))
            if length <= offset:
                out += out[here - offset : here - offset + length]
            else:
                out += (out[-offset:] * (length // offset + 1))[:length]
    except IndexError:
        at = end + 1
    if at > end:
        raise BlockError(began, _why_not(ends_early=True))
    if len(out) != size:
        raise BlockError(began, f"the block has {len(out)} bytes and tells {size}")
    return out


def _long(data: bytes, at: int, width: int, least: int) -> tuple[int, int]:
    """A length that stands behind the operation, and where it ends; fewer bytes are found out by the caller."""
    return least + int.from_bytes(data[at : at + width], "little"), at + width


def _why_not(ends_early: bool, too_far: bool = False) -> str:
    if ends_early:
        return "the block ends within an operation"
    return "a copy from before the beginning of the block" if too_far else "more than the block tells that it has"
