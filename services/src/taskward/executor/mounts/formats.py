"""Which formats there are, how to tell them, and which program or function reads them.

A compressed archive is read by two processes, as ``tar --xz`` does: one decompresses, the other unpacks. Where
decompression costs less than the pipe between them, `bsdtar` does both.
"""

from collections.abc import Callable
from typing import Final

from taskward.executor.mounts import decode
from taskward.executor.mounts.minlz import BEGINNING, EMPTY_BEGINNINGS, minlz

Decompressor = tuple[str, ...] | Callable[[int, int], None]
"""An argument vector that reads standard input, or a function of two descriptors."""

DECOMPRESSORS: Final[dict[str, Decompressor]] = {
    "br": decode.brotli,
    "bz2": ("bzip2", "-dc"),
    "gz": ("gzip", "-dc"),
    "lz": decode.lzip,
    "lz4": ("lz4", "-dcq"),
    "mz": minlz,
    "sz": decode.snappy,
    "xz": ("xz", "-dcq", "-T1"),
    "zst": ("zstd", "-dcq", "--no-progress"),
    "zz": decode.zlib_stream,
}

_QUICK: Final = ("lz4", "zst")

_ZIP_END: Final = b"PK\x05\x06"
_ZIP_END_BYTES: Final = 22
ENDING_BYTES: Final = _ZIP_END_BYTES + 0xFFFF
"""How much `is_cut` needs: the record at the end of a zip file, with the longest comment."""

_BEGINNINGS: Final[dict[str, tuple[bytes, ...]]] = {
    "7z": (b"7z\xbc\xaf\x27\x1c",),
    "bz2": (b"BZh",),
    "gz": (b"\x1f\x8b",),
    "lz": (b"LZIP",),
    "lz4": (b"\x04\x22\x4d\x18",),
    "mz": (BEGINNING, *EMPTY_BEGINNINGS),
    "rar": (b"Rar!\x1a\x07",),
    "sz": (b"\xff\x06\x00\x00sNaPpY",),
    "xz": (b"\xfd7zXZ\x00",),
    "zip": (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"),
    "zst": (b"\x28\xb5\x2f\xfd", *(bytes((number,)) + b"\x2a\x4d\x18" for number in range(0x50, 0x60))),
}


def compression(name: str) -> str:
    """The compression of an archive format; empty for those that have none around them."""
    return name.removeprefix("tar.") if name.startswith("tar.") else ""


def separate_compression(name: str) -> str:
    """The compression that a process of its own undoes before an archive is unpacked; empty for none."""
    found = compression(name)
    return "" if found in _QUICK else found


def looks_like(name: str, beginning: bytes) -> bool:
    """Whether content that begins so can be of that format; `name` may be an archive or a compression."""
    known = _BEGINNINGS.get(compression(name) or name, ())
    return not known or beginning.startswith(known)


def is_cut(name: str, ending: bytes) -> bool:
    """Whether the end of an archive of that format is missing, of which `ending` has the last `ENDING_BYTES`.

    Told for zip alone: without its directory, which is at its end, `bsdtar` would go by what stands before each file,
    where modes and links are not told. All others are read to the end anyway.
    """
    if name != "zip":
        return False
    at = len(ending)
    while (at := ending.rfind(_ZIP_END, 0, at)) >= 0:
        comment_bytes = int.from_bytes(ending[at + _ZIP_END_BYTES - 2 : at + _ZIP_END_BYTES], "little")
        if at + _ZIP_END_BYTES + comment_bytes <= len(ending):
            return False
    return True
