"""Archives as a hostile or a careless author makes them, in every format that a mount may have."""

import bz2
import gzip
import io
import lzma
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import brotli
import cramjam

from executor.mounts import minlz_writer


@dataclass(frozen=True)
class Entry:
    """A file by default; `link` makes it a symbolic link, `hard` a hard one."""

    name: str
    data: bytes = b""
    link: str = ""
    hard: str = ""
    mode: int = 0o644
    kind: bytes = tarfile.REGTYPE


def tar(entries: Iterable[Entry]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.size, info.mode, info.type = len(entry.data), entry.mode, entry.kind
            info.uid = info.gid = 0
            info.devmajor, info.devminor = 1, 5
            if entry.link:
                info.type, info.linkname = tarfile.SYMTYPE, entry.link
            if entry.hard:
                info.type, info.linkname = tarfile.LNKTYPE, entry.hard
            archive.addfile(info, io.BytesIO(entry.data))
    return stream.getvalue()


def zipped(entries: Iterable[Entry]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries:
            info = zipfile.ZipInfo(entry.name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = ((0o120777 if entry.link else 0o100000 | entry.mode) & 0xFFFF) << 16
            archive.writestr(info, entry.link or entry.data)
    return stream.getvalue()


def seven_zip(entries: Iterable[Entry]) -> bytes:
    """By bsdtar, from a tar archive, names as they are."""
    argv = ["bsdtar", "-c", "-P", "--format", "7zip", "-f", "-", "@-"]
    return subprocess.run(argv, input=tar(entries), capture_output=True, check=True, timeout=60).stdout


def rar(entries: Iterable[Entry]) -> bytes:
    """Version 4, stored: a marker, a main header, and a header before each file's bytes."""
    parts = [b"Rar!\x1a\x07\x00", _rar_block(0x73, 0, bytes(6), b"")]
    for entry in entries:
        data, name = (entry.link.encode() or entry.data), entry.name.encode()
        attributes = (0o120777 if entry.link else 0o100000 | entry.mode) & 0xFFFFFFFF
        fields = struct.pack(
            "<IIBIIBBHI", len(data), len(data), 3, zlib.crc32(data), 0x4A21_0000, 20, 0x30, len(name), attributes
        )
        parts.append(_rar_block(0x74, 0x8000, fields + name, data))
    return b"".join([*parts, _rar_block(0x7B, 0x4000, b"", b"")])


def _rar_block(kind: int, flags: int, fields: bytes, data: bytes) -> bytes:
    head = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
    return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head + data


def lzip(data: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2}]
    packed = lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters)
    head = b"LZIP\x01\x10"
    return head + packed + struct.pack("<IQQ", zlib.crc32(data), len(data), len(head) + len(packed) + 20)


def _program(*argv: str) -> Callable[[bytes], bytes]:
    return lambda data: subprocess.run(argv, input=data, capture_output=True, check=True, timeout=60).stdout


COMPRESSORS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "br": lambda data: bytes(brotli.compress(data, quality=5)),
    "bz2": bz2.compress,
    "gz": gzip.compress,
    "lz": lzip,
    "lz4": _program("lz4", "-c", "-1"),
    "mz": minlz_writer.compress,
    "sz": lambda data: bytes(cramjam.snappy.compress(data)),
    "xz": lzma.compress,
    "zst": _program("zstd", "-c", "-q", "-3"),
    "zz": zlib.compress,
}

ARCHIVES: Final[dict[str, Callable[[Iterable[Entry]], bytes]]] = {
    "7z": seven_zip,
    "rar": rar,
    "tar": tar,
    "zip": zipped,
    **{
        f"tar.{name}": lambda entries, compress=compress: compress(tar(entries))  # type: ignore[misc]
        for name, compress in COMPRESSORS.items()
    },
}


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def encrypted_zip(directory: Path) -> bytes:
    """By bsdtar, with a password."""
    (directory / "f").write_text("secret")
    argv = ["bsdtar", "-c", "--format", "zip", "--options", "zip:encryption=zipcrypt", "--passphrase", "x", "-f", "-",
            "-C", str(directory), "f"]  # fmt: skip
    return subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout


def mount(web: Any, data: bytes, form: str, directory: str = "d") -> dict[str, Any]:
    """A read-only directory with that archive."""
    return {"directory": directory, "format": form, "content": {"url": web.page(f"/archive.{form}", data)}}
