"""Decompression that no program of Debian's base does: brotli, lzip, framed snappy, zlib.

From descriptor to descriptor, in a process that may do nothing else. All raise ValueError for data that is damaged or
ends early.
"""

import lzma
import struct
import zlib
from typing import Any, Final

from taskward.executor.mounts.pipe import PIECE_BYTES, Reader, pieces, whole, write

_LZIP_HEADER: Final = struct.Struct("<4sBB")
_LZIP_TRAILER: Final = struct.Struct("<IQQ")
_LZIP_SMALLEST, _LZIP_LARGEST = 12, 29
_SNAPPY_START: Final = b"\xff\x06\x00\x00sNaPpY"


def brotli(source: int, target: int) -> None:
    """RFC 7932."""
    import brotli as library

    decoder = library.Decompressor()
    for piece in pieces(source):
        rest = piece
        while data := decoder.process(rest, output_buffer_limit=PIECE_BYTES):
            write(target, data)
            rest = b""
    if not decoder.is_finished():
        raise ValueError("truncated brotli data")


def zlib_stream(source: int, target: int) -> None:
    """RFC 1950."""
    decoder = zlib.decompressobj()
    for piece in pieces(source):
        rest = piece
        while rest:
            write(target, decoder.decompress(rest, PIECE_BYTES))
            if decoder.unused_data:
                raise ValueError("data after the end of the zlib stream")
            rest = decoder.unconsumed_tail
    if not decoder.eof:
        raise ValueError("truncated zlib data")


def lzip(source: int, target: int) -> None:
    """One or more members, each LZMA between a header and a trailer (``man lzip``)."""
    reader = Reader(source)
    while header := reader.take(_LZIP_HEADER.size):
        magic, version, coded = _LZIP_HEADER.unpack(whole(header, _LZIP_HEADER.size))
        base = coded & 0x1F
        if magic != b"LZIP" or version != 1 or not _LZIP_SMALLEST <= base <= _LZIP_LARGEST:
            raise ValueError("not lzip data")
        size = (1 << base) - (1 << base) // 16 * (coded >> 5)
        _lzip_member(reader, target, {"id": lzma.FILTER_LZMA1, "dict_size": size, "lc": 3, "lp": 0, "pb": 2})


def _lzip_member(reader: Reader, target: int, properties: dict[str, int]) -> None:
    decoder: Any = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=[properties])
    checksum, size = 0, 0
    while not decoder.eof:
        piece = reader.some() if decoder.needs_input else b""
        if decoder.needs_input and not piece:
            raise ValueError("truncated lzip data")
        data = decoder.decompress(piece, PIECE_BYTES)
        checksum, size = zlib.crc32(data, checksum), size + len(data)
        write(target, data)
    reader.give_back(decoder.unused_data)
    trailer = _LZIP_TRAILER.unpack(reader.whole(_LZIP_TRAILER.size))
    if trailer[:2] != (checksum, size):
        raise ValueError("lzip data with a wrong checksum")


def snappy(source: int, target: int) -> None:
    """Framing format (``framing_format.txt`` of google/snappy); checksums are verified."""
    import cramjam

    reader = Reader(source)
    if reader.take(len(_SNAPPY_START)) != _SNAPPY_START:
        raise ValueError("not framed snappy data")
    while head := reader.take(4):
        kind, length = whole(head, 4)[0], int.from_bytes(head[1:4], "little")
        body = reader.whole(length)
        if kind in (0, 1):  # the library verifies the checksum of a stream of one block
            write(target, _block(cramjam, _SNAPPY_START + head + body))
        elif 2 <= kind <= 0x7F:
            raise ValueError("snappy data of an unknown kind")


def _block(library: Any, stream: bytes) -> bytes:
    try:
        return bytes(library.snappy.decompress(stream))
    except library.DecompressionError as error:
        raise ValueError(f"damaged snappy data: {error}") from error
