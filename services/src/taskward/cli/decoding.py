"""Undoes the content encoding of an artifact, and tells whether its end has come.

HTTP libraries do not: to them, a gzip stream that ends in the middle is as good as a whole one.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

PIECE_BYTES: Final = 1 << 20
"""About the most that is in memory at once, whatever a small piece stands for."""

ACCEPTED: Final = "gzip, br"
"""For the field of that name: all that is undone here."""

_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS


class BrokenEncoding(Exception):
    """The content is not what its encoding says, or ends too soon; the text says which."""


def decoded(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The content of a body; `encoding` is its Content-Encoding. What is encoded in another way stays as it is.

    Raises:
        BrokenEncoding: it cannot be had whole; what came before is not to be used.
    """
    for name in reversed(encoding.lower().split(",")):
        pieces = _DECODERS.get(name.strip(), iter)(pieces)
    yield from pieces


def _inflating(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """RFC 1952 (gzip), of any number of members, or 1950 (what HTTP calls deflate)."""
    member = None
    for piece in pieces:
        rest = piece
        while rest:
            member = member or zlib.decompressobj(_GZIP_OR_ZLIB)
            yield _inflated(member, rest)
            rest = member.unconsumed_tail or member.unused_data
            member = None if member.eof else member
    while member and not member.eof:
        if not (last := _inflated(member, b"")):
            raise BrokenEncoding("its compressed data is cut off")
        yield last


def _inflated(member: "zlib._Decompress", data: bytes) -> bytes:
    try:
        return member.decompress(data, PIECE_BYTES)
    except zlib.error as error:
        raise BrokenEncoding(f"its compressed data is damaged: {error}") from error


def _brotli(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """RFC 7932."""
    import brotli

    decoder, begun = brotli.Decompressor(), False
    try:
        for piece in pieces:
            rest, begun = piece, True
            while data := decoder.process(rest, output_buffer_limit=PIECE_BYTES):
                yield data
                rest = b""
    except brotli.error as error:
        raise BrokenEncoding("its brotli data is damaged") from error
    if begun and not decoder.is_finished():
        raise BrokenEncoding("its brotli data is cut off")


_DECODERS: Final[Mapping[str, Callable[[Iterable[bytes]], Iterator[bytes]]]] = {
    "gzip": _inflating,
    "x-gzip": _inflating,
    "deflate": _inflating,
    "br": _brotli,
}
