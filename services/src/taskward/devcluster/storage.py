"""Where uploaded bytes are kept, with a row that says how they are served.

Large bodies are a file each. Small ones are in the database: making a file takes longer than all the rest of a small
upload, many times so on an ext4 where many files were removed just before.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, BinaryIO

from taskward.devcluster.clock import Clock
from taskward.devcluster.database import Database
from taskward.devcluster.identifiers import new_file_name
from taskward.devcluster.signed_urls import StorageError

#: How much is read from the sender at once: large enough that copying is what takes the time.
_CHUNK_BYTES = 1024 * 1024
_SMALL_BYTES = 64 * 1024


@dataclass(frozen=True)
class Blob:
    """Stored bytes; type and encoding are what the upload said, or None."""

    bucket: str
    key: str
    file_name: str
    size_bytes: int
    content_type: str | None
    content_encoding: str | None
    modified: datetime


class Storage:
    """The blobs. Each is there as a whole or not at all."""

    def __init__(self, directory: Path, database: Database, clock: Clock) -> None:
        self._directory = directory
        self._database = database
        self._clock = clock
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()

    def receive(
        self,
        bucket: str,
        key: str,
        stream: IO[bytes],
        size_bytes: int,
        content_type: str | None = None,
        content_encoding: str | None = None,
    ) -> Blob:
        """Store exactly ``size_bytes`` from a stream, in place of what the key held.

        Raises ``StorageError`` when the stream ends early; then nothing has changed.
        """
        name = new_file_name()
        blob = Blob(bucket, key, name, size_bytes, content_type, content_encoding, self._clock.now())
        if size_bytes <= _SMALL_BYTES:
            small = io.BytesIO()
            _copy(stream, small, size_bytes)
            self._record(blob, small.getvalue())
        else:
            with self._written(name) as file:
                _copy(stream, file, size_bytes)
            self._record(blob)
        return blob

    def open(self, bucket: str, key: str) -> tuple[Blob, BinaryIO]:
        """Return what a key holds, open for reading; it stays readable when it is replaced meanwhile.

        Raises ``StorageError`` when the key holds nothing.
        """
        # In one transaction, because replaced files are removed after the transaction that replaces them.
        with self._database.transaction() as db:
            row = db.execute("SELECT * FROM blobs WHERE bucket = ? AND key = ?", (bucket, key)).fetchone()
            if row is None:
                raise StorageError("NoSuchKey", 404, "The specified key does not exist.")
            blob = Blob(**row)
            small = db.execute("SELECT content FROM small_contents WHERE file_name = ?", (blob.file_name,)).fetchone()
            file = io.BytesIO(small["content"]) if small else (self._directory / blob.file_name).open("rb")
            return blob, file

    @contextmanager
    def _written(self, name: str) -> Iterator[BinaryIO]:
        path = self._directory / name
        try:
            with path.open("xb", buffering=0) as file:
                yield file
        except BaseException:
            path.unlink()
            raise

    def _record(self, blob: Blob, content: bytes | None = None) -> None:
        """Put a blob in place of what its key held; without ``content`` its file is there already."""
        with self._database.transaction() as db:
            old = db.execute(
                "SELECT file_name FROM blobs WHERE bucket = ? AND key = ?", (blob.bucket, blob.key)
            ).fetchone()
            db.execute(
                "INSERT OR REPLACE INTO blobs VALUES (:bucket, :key, :file_name, :size_bytes,"
                " :content_type, :content_encoding, :modified)",
                vars(blob),
            )
            if content is not None:
                db.execute("INSERT INTO small_contents VALUES (?, ?)", (blob.file_name, content))
            if old:
                db.execute("DELETE FROM small_contents WHERE file_name = ?", (old["file_name"],))
        if old:
            (self._directory / old["file_name"]).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what a killed process has left of unfinished uploads."""
        with self._database.transaction() as db:
            known = {row["file_name"] for row in db.execute("SELECT file_name FROM blobs")}
        for path in self._directory.iterdir():
            if path.name not in known:
                path.unlink()


def _copy(stream: IO[bytes], file: BinaryIO, size_bytes: int) -> None:
    """Raises ``StorageError`` when the stream ends early."""
    received = 0
    while received < size_bytes:
        chunk = stream.read(min(_CHUNK_BYTES, size_bytes - received))
        if not chunk:
            raise StorageError("IncompleteBody", 400, f"The body ended after {received} of {size_bytes} bytes")
        view = memoryview(chunk)
        while view:
            view = view[file.write(view) :]
        received += len(chunk)
