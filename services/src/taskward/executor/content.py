"""Content type and encoding of a file by its extension, as generic-worker guesses them."""

import mimetypes
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from taskward.executor.payload_artifacts import ArtifactRequest

_OWN: Final = {
    ".log": "text/plain", ".jsonl": "application/jsonl", ".js": "text/javascript; charset=utf-8",
    ".gz": "application/gzip", ".bz2": "application/x-bzip2", ".xz": "application/x-xz", ".br": "application/x-brotli",
}  # fmt: skip
_SYSTEM_TABLES: Final = ("/etc/mime.types", "/etc/apache2/mime.types")
_UNKNOWN: Final = "application/octet-stream"
_COMPRESSED: Final = {
    ".7z", ".br", ".aab", ".apk", ".bz2", ".deb", ".dmg", ".flv", ".gif", ".gz", ".jar", ".jpeg", ".jpg", ".lz",
    ".lz4", ".mz", ".npz", ".pkg", ".png", ".swf", ".sz", ".tbz", ".tgz", ".wasm", ".webp", ".whl", ".woff",
    ".woff2", ".xpi", ".xz", ".zip", ".zst", ".zz",
}  # fmt: skip


def content_type(request: ArtifactRequest, path: str) -> str:
    """What the payload says, else by the extension of `path`, whatever its case."""
    return request.content_type or content_type_of(PurePosixPath(path).suffix.lower())


def content_encoding(request: ArtifactRequest, path: str) -> Literal["gzip", "identity"]:
    """What the payload says, else gzip unless the extension tells of compression."""
    if request.content_encoding:
        return request.content_encoding
    return "identity" if PurePosixPath(path).suffix.lower() in _COMPRESSED else "gzip"


def content_type_of(extension: str) -> str:
    """By an extension in lower case, with its dot."""
    if extension in _OWN:
        return _OWN[extension]
    found = _table().types_map[True].get(extension) or _table().types_map[False].get(extension, _UNKNOWN)
    return f"{found}; charset=utf-8" if found.startswith("text/") else found


@cache
def _table() -> mimetypes.MimeTypes:
    """Python's own table and the system's ``mime.types``, where there is one."""
    return mimetypes.MimeTypes([path for path in _SYSTEM_TABLES if Path(path).exists()])
