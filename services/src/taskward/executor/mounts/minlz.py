"""MinLZ: decompresses streams as the MinLZ specification v1.0 (``SPEC.md`` of minio/minlz) describes them.

A subset, as the specification wants it said: no single blocks outside of a stream (``.mzb``), no fallback to Snappy or
S2, no use of an index or of search tables, which are skipped. A stream must have its end marker.
"""

from typing import Final

from taskward.executor.mounts.crc32c import masked
from taskward.executor.mounts.minlz_block import BlockError, expand
from taskward.executor.mounts.pipe import Reader, Truncated, write

BEGINNING: Final = b"\xff\x06\x00\x00MinLz"
EMPTY_BEGINNINGS: Final = (b"\x20\x00\x00\x00", b"\x20\x01\x00\x00\x00")
"""An empty stream may be nothing but its end."""

_PLAIN, _BLOCK, _BLOCK_COMPRESSED_CHECKSUM = 0x01, 0x02, 0x03
_END, _PADDING, _IDENTIFIER = 0x20, 0xFE, 0xFF
_SKIPPABLE: Final = range(0x40, 0xC0)
_MAGIC: Final = BEGINNING[4:]
_HEAD_BYTES: Final = 4
_CHECKSUM_BYTES: Final = 4
_LONGEST_VARINT: Final = 10
_LARGEST_SIZE_CODE: Final = 13
_SIZE_CODE_LOG: Final = 10


def minlz(source: int, target: int) -> None:
    """One stream, or several one behind the other.

    Raises:
        ValueError: it is damaged, ends early, or is of a kind that this cannot read; the text names the byte.
    """
    _Stream(Reader(source), target).run()


class _Stream:
    """What is known between two chunks."""

    def __init__(self, reader: Reader, target: int) -> None:
        self._reader, self._target = reader, target
        self._most_bytes = 0
        """Of a block in the stream that began; 0 between streams."""
        self._written = 0
        self._began = 0

    def run(self) -> None:
        """To the end of the data."""
        first = True
        while head := self._head():
            kind, length = head
            if first and kind not in (_IDENTIFIER, _END):
                raise self._error(f"a stream begins with an identifier, not with a chunk of type {kind:#04x}")
            self._chunk(kind, length)
            first = False
        if self._most_bytes:
            raise self._error("the data is truncated: the stream has no end marker")

    def _head(self) -> tuple[int, int] | None:
        self._began = self._reader.offset
        head = self._reader.take(_HEAD_BYTES)
        if not head:
            return None
        if len(head) < _HEAD_BYTES:
            raise self._error("the data is truncated in the head of a chunk")
        return head[0], int.from_bytes(head[1:], "little")

    def _chunk(self, kind: int, length: int) -> None:
        try:
            if kind in (_PLAIN, _BLOCK, _BLOCK_COMPRESSED_CHECKSUM):
                self._data(kind, length)
            elif kind == _END:
                self._end(length)
            elif kind == _IDENTIFIER:
                self._identifier(length)
            elif kind in _SKIPPABLE or kind == _PADDING:
                self._reader.skip(length)
            else:
                raise self._error(f"a chunk of type {kind:#04x} is not known and must not be skipped")
        except Truncated as error:
            raise self._error("the data is truncated in a chunk") from error

    def _identifier(self, length: int) -> None:
        if self._most_bytes:
            raise self._error("another stream begins before the end marker of the last")
        body = self._body(length, len(_MAGIC) + 1, len(_MAGIC) + 1)
        code = body[-1] & 0x0F
        if body[:-1] != _MAGIC or body[-1] >> 6 or code > _LARGEST_SIZE_CODE:
            raise self._error(f"the identifier of the stream is not one of MinLZ: {body.hex()}")
        self._most_bytes, self._written = 1 << code + _SIZE_CODE_LOG, 0

    def _end(self, length: int) -> None:
        body = self._body(length, 0, _LONGEST_VARINT)
        if body:
            told, used = self._varint(body)
            if used != len(body) or told != self._written:
                raise self._error(f"the stream ends after {self._written} bytes, its end marker tells otherwise")
        self._most_bytes = self._written = 0

    def _data(self, kind: int, length: int) -> None:
        if not self._most_bytes:
            raise self._error("data outside of a stream")
        head_bytes = _CHECKSUM_BYTES + (0 if kind == _PLAIN else _LONGEST_VARINT)
        body = self._body(length, _CHECKSUM_BYTES, head_bytes + self._most_bytes)
        checksum = int.from_bytes(body[:_CHECKSUM_BYTES], "little")
        if kind == _PLAIN:
            data: bytes | bytearray = body[_CHECKSUM_BYTES:]
            right = masked(data) == checksum
        else:
            data, right = self._block(body, checksum, of_compressed=kind == _BLOCK_COMPRESSED_CHECKSUM)
        if not right:
            raise self._error("the checksum of a chunk is wrong")
        self._written += len(data)
        write(self._target, data)

    def _block(self, body: bytes, checksum: int, *, of_compressed: bool) -> tuple[bytearray, bool]:
        """The data of a chunk with a compressed block, and whether its checksum is right.

        Where it is that of the compressed data, the specification leaves open whether the size before them belongs to
        these: its reference decoder says yes, the library that generic-worker has says no.
        """
        size, used = self._varint(body[_CHECKSUM_BYTES : _CHECKSUM_BYTES + _LONGEST_VARINT])
        at = _CHECKSUM_BYTES + used
        if not len(body) - at <= size <= self._most_bytes or not size:
            raise self._error(f"a block of {size} bytes from {len(body) - at}, where {self._most_bytes} are allowed")
        if of_compressed and checksum not in (masked(body[at:]), masked(body[_CHECKSUM_BYTES:])):
            return bytearray(), False
        try:
            data = expand(body, at, size)
        except BlockError as error:
            raise self._error(str(error), error.at) from error
        return data, of_compressed or masked(data) == checksum

    def _varint(self, data: bytes) -> tuple[int, int]:
        """An unsigned number of seven bits in each byte, the lowest first, and how many bytes it takes."""
        number = 0
        for index, byte in enumerate(data):
            number |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                return number, index + 1
        raise self._error("a number that does not end")

    def _body(self, length: int, least: int, most: int) -> bytes:
        if not least <= length <= most:
            raise self._error(f"a chunk of {length} bytes, where {least} to {most} can be")
        return self._reader.whole(length)

    def _error(self, why: str, at: int | None = None) -> ValueError:
        """Told for the chunk, or for the byte `at` of what it holds."""
        where = self._began if at is None else self._began + _HEAD_BYTES + at
        return ValueError(f"{why} (at byte {where})")
