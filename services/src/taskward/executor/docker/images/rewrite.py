"""Takes an image's archive apart and writes another, in which nothing has a name that its author chose.

Runs with the rights of the task's user, confined, since all that it reads is hostile. The archive is read once and
nothing is put aside but small files: what may be a layer is written on at once under a number; the manifest, which is
ours, comes last. Without it the daemon loads nothing; so whatever is wrong is found in time.
"""

import io
import json
import os
import posixpath
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from socket import socket
from typing import IO, Any, Final

from taskward.executor.docker.images.blob import Blob, Budget
from taskward.executor.docker.images.child import restrict
from taskward.executor.docker.images.layer import Count
from taskward.executor.docker.images.manifest import Contents, Described, described
from taskward.executor.docker.images.platform import Platform
from taskward.executor.mounts.digest import sha256_of
from taskward.executor.mounts.errands import Answer, Refused, serve

_FORMATS: Final[dict[bytes, tuple[str, ...]]] = {
    b"\x1f\x8b": ("gzip", "-dc"),
    b"\x04\x22\x4d\x18": ("lz4", "-dcq"),
    b"\x28\xb5\x2f\xfd": ("zstd", "-dcq", "--no-progress"),
}
_TAR_MAGIC_AT, _TAR_MAGIC = 257, b"ustar"
_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
_PIECE_BYTES: Final = 1 << 20
_SMALL_BYTES: Final = 4 << 20
_ALL_SMALL_BYTES: Final = 32 << 20
_MOST_MEMBERS: Final = 10_000
_END: Final = bytes(2 * tarfile.BLOCKSIZE)
_SLACK_S: Final = 60.0


@dataclass(frozen=True)
class Limits:
    """What an image may become; 0 switches a limit off but for the time."""

    most_bytes: int
    most_ratio: int
    most_entries: int
    longest_s: float


def rewriter(limits: Limits, here: Platform) -> Callable[[socket], None]:
    """What to call as the task's user; it answers to ``rewrite`` with ``sha256`` and ``name``.

    Received are the archive, which must have that hash and an image for `here`, and where to write the new one, in
    which the image has that name. The answer says ``broken`` when nobody reads what is written.
    """

    def rewrite(request: Mapping[str, Any], received: Sequence[int]) -> Answer:
        source, target = received
        restrict()
        work = _Rewrite(source, target, limits)
        try:
            with ThreadPoolExecutor(1) as pool:
                digest = pool.submit(sha256_of, source)
                image = work.read(here)
                if digest.result()[0] != request["sha256"]:
                    raise Refused("it is not what was downloaded")
            if mismatch := here.mismatch(image.platform):
                raise Refused(mismatch)
            work.finish(image, request["name"])
        except BrokenPipeError:
            return {"broken": True}, ()
        return {"broken": False}, ()

    return serve({"rewrite": rewrite}, limits.longest_s + _SLACK_S)


class _Rewrite:
    """One archive."""

    def __init__(self, source: int, target: int, limits: Limits) -> None:
        self._source, self._target, self._limits = source, target, limits
        self._deadline = time.monotonic() + limits.longest_s
        self._budget = Budget(os.fstat(source).st_size, limits.most_bytes, limits.most_ratio)
        self._count = Count(limits.most_entries)
        self._files: dict[str, Blob] = {}
        self._links: dict[str, str] = {}
        self._small: dict[str, bytes] = {}
        self._small_bytes = 0
        self._numbers: dict[str, str] = {}

    def read(self, here: Platform) -> Described:
        """The image that is in it, for `here` if there are several; whatever may be a layer is written.

        Raises:
            Refused: there is no image in it that can be loaded.
            OSError: nobody reads what is written.
        """
        with _opened(self._source) as stream:
            try:
                with tarfile.open(fileobj=stream, mode="r|", bufsize=_PIECE_BYTES) as archive:
                    for number, member in enumerate(archive):
                        if number >= _MOST_MEMBERS:
                            raise Refused(f"it has more than {_MOST_MEMBERS} members")
                        self._member(archive, member)
            except (tarfile.TarError, EOFError, ValueError, MemoryError, RecursionError) as error:
                raise Refused(f"it is no whole tar archive: {error or type(error).__name__}") from error
            while rest := stream.read(_PIECE_BYTES):  # so that checksums at the end are looked at
                self._spend(len(rest))
        return described(Contents(self._files, self._links, self._small), here)

    def finish(self, image: Described, name: str) -> None:
        """Writes what is still missing, and the manifest, in which the image has `name`."""
        for file in dict.fromkeys((image.config, *image.layers)):
            if file in self._small:
                self._begin(file, len(self._small[file]))
                self._write_padded(self._small[file])
        layers = [self._numbers[layer] for layer in image.layers]
        manifest = [{"Config": self._numbers[image.config], "RepoTags": [name], "Layers": layers}]
        text = json.dumps(manifest).encode()
        self._header("manifest.json", len(text))
        self._write_padded(text)
        self._write(_END)

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = _inside(member.name)
        if member.isdir():
            return
        if name in self._files or name in self._links:
            raise Refused(f"it has {name[:200]!r} twice")
        if member.issym():
            self._links[name] = _inside(posixpath.join(posixpath.dirname(name), _relative(member.linkname)))
        elif member.islnk():
            self._links[name] = _inside(member.linkname)
        elif not member.isreg() or member.issparse():
            raise Refused(f"{name[:200]!r} in it is no ordinary file")
        else:
            content = archive.extractfile(member)
            if content is not None:
                self._file(name, member.size, content)

    def _file(self, name: str, size_bytes: int, content: IO[bytes]) -> None:
        blob = self._files[name] = Blob(self._budget, self._count)
        piece = content.read(min(size_bytes, _PIECE_BYTES))
        if piece.lstrip()[:1] in (b"{", b"[") and size_bytes <= _SMALL_BYTES:
            whole = piece + content.read()
            blob.feed(whole)
            self._keep(name, whole)
            return
        self._begin(name, size_bytes)
        while piece:
            self._spend(len(piece))
            blob.feed(piece)
            self._write(piece)
            piece = content.read(_PIECE_BYTES)
        blob.end()
        self._write(_padding(size_bytes))

    def _keep(self, name: str, data: bytes) -> None:
        self._spend(len(data))
        self._small[name] = data
        self._small_bytes += len(data)
        if self._small_bytes > _ALL_SMALL_BYTES:
            raise Refused("it has more JSON than any image needs")

    def _begin(self, name: str, size_bytes: int) -> None:
        self._numbers[name] = str(len(self._numbers))
        self._header(self._numbers[name], size_bytes)

    def _header(self, name: str, size_bytes: int) -> None:
        header = tarfile.TarInfo(name)
        header.size = size_bytes
        self._write(header.tobuf(tarfile.GNU_FORMAT))

    def _write_padded(self, data: bytes) -> None:
        self._write(data)
        self._write(_padding(len(data)))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._target, view) :]

    def _spend(self, size_bytes: int) -> None:
        self._budget.spend(size_bytes)
        if time.monotonic() > self._deadline:
            raise Refused(f"unpacking takes longer than {self._limits.longest_s:.0f} s")


def _inside(name: str) -> str:
    """A normalised name.

    Raises:
        Refused: it leads out of the archive.
    """
    found = posixpath.normpath(name)
    if found.startswith("/") or found.split("/")[0] == "..":
        raise Refused(f"{name[:200]!r} in it leads out of the archive")
    return found


def _relative(target: str) -> str:
    if target.startswith("/"):
        raise Refused(f"a link to {target[:200]!r} in it leads out of the archive")
    return target


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % tarfile.BLOCKSIZE)


@contextmanager
def _opened(source: int) -> Iterator[IO[bytes]]:
    """The tar archive, decompressed by another process if need be.

    Raises:
        Refused: it is of no format that images have, or its compression is damaged.
    """
    os.lseek(source, 0, os.SEEK_SET)
    beginning = os.pread(source, _TAR_MAGIC_AT + len(_TAR_MAGIC), 0)
    argv = next((argv for magic, argv in _FORMATS.items() if beginning.startswith(magic)), None)
    if argv is None:
        if beginning[_TAR_MAGIC_AT:] != _TAR_MAGIC:
            raise Refused(
                "Unsupported image file format. Expected tarball with extension: .tar.zst, .tar.lz4, .tar.gz or .tar"
            )
        with io.FileIO(source, "rb", closefd=False) as stream:
            yield io.BufferedReader(stream, _PIECE_BYTES)
        return
    with subprocess.Popen(argv, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_ENVIRONMENT,
                          pipesize=_PIECE_BYTES) as process:  # fmt: skip
        try:
            yield _pipe(process.stdout)
            words = _pipe(process.stderr).read(500).decode("utf-8", "backslashreplace").strip()
            if process.wait():
                raise Refused(f"it cannot be decompressed: {words or f'{argv[0]} ended with {process.returncode}'}")
        finally:
            process.kill()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise AssertionError("pipes were asked for")
    return stream
