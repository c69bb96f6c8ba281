"""Files of a build's context: which of them ``COPY`` means, and the archive that puts them into a container."""

import bz2
import fnmatch
import gzip
import lzma
import posixpath
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final, Self

from taskward.executor.docker.dind.build.errors import BuildFailed

_PIECE_BYTES: Final = 1 << 18
_MOST_ENTRIES: Final = 200_000
_COMPRESSED: Final[dict[bytes, Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_MAGIC_AT, _MAGIC = 257, b"ustar"


@dataclass(frozen=True)
class Owner:
    """Of what is copied; None keeps what the archive says."""

    uid: int
    gid: int


class Files:
    """Of a tar archive on disk; `close` it."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._members: dict[str, tarfile.TarInfo] = {}
        for number, member in enumerate(archive):
            if number >= _MOST_ENTRIES:
                raise BuildFailed(f"the context has more than {_MOST_ENTRIES} entries")
            self._members[_inside(member.name)] = member
        for name in list(self._members):
            while name := posixpath.dirname(name):
                self._members.setdefault(name, _directory(name))

    @classmethod
    def open(cls, file: IO[bytes], most_bytes: int, directory: Path) -> Self:
        """The archive in `file`, perhaps compressed; then it is written plainly to `directory`, where it has no name.

        Raises:
            BuildFailed: there is none.
        """
        try:
            return cls(tarfile.open(fileobj=_plain(file, most_bytes, directory), mode="r:"))
        except (tarfile.TarError, EOFError, ValueError, lzma.LZMAError, OSError) as error:
            raise BuildFailed(f"the context is no tar archive: {error}") from error

    def close(self) -> None:
        """Nothing more is read."""
        self._archive.close()

    def text(self, name: str) -> str:
        """Of one file.

        Raises:
            BuildFailed: it is not there.
        """
        member = self._members.get(_inside(name))
        content = self._archive.extractfile(member) if member is not None and member.isreg() else None
        if content is None:
            raise BuildFailed(f"Cannot locate specified Dockerfile: {name}")
        return content.read(_PIECE_BYTES * 4).decode("utf-8", "replace")

    def matching(self, pattern: str) -> list[str]:
        """Names that `pattern` means, ``*`` not reaching beyond a slash; the empty name is everything.

        Raises:
            BuildFailed: there are none.
        """
        name = _inside(pattern)
        if name in self._members or (not name and self._members):
            return [name]
        parts = name.split("/")
        found = sorted(each for each in self._members if _matches(each.split("/"), parts))
        if not found:
            raise BuildFailed(f"file not found in build context: stat {name}: file does not exist")
        return found

    def is_directory(self, name: str) -> bool:
        """Whether there is more below it."""
        return not name or self._members[name].isdir()

    def open_file(self, name: str) -> IO[bytes] | None:
        """A plain file's content; None for anything else."""
        return self._archive.extractfile(self._members[name]) if name and self._members[name].isreg() else None

    def below(self, name: str, target: str) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
        """`name` as `target`, and with a directory what is in it."""
        prefix = f"{name}/" if name else ""
        for each, member in sorted(self._members.items()):
            if each == name or each.startswith(prefix):
                place = posixpath.join(target, each[len(name) :].lstrip("/")).rstrip("/")
                if place.strip("/"):
                    renamed = copy(member)
                    renamed.name = place
                    if member.islnk():
                        renamed.linkname = self._linked(member, name, target)
                    yield renamed, self._archive.extractfile(member) if member.isreg() else None

    def _linked(self, member: tarfile.TarInfo, name: str, target: str) -> str:
        linked = _inside(member.linkname)
        if linked != name and not linked.startswith(f"{name}/" if name else ""):
            raise BuildFailed(f"{member.name} is a hard link to {linked}, which is not copied with it")
        return posixpath.join(target, linked[len(name) :].lstrip("/")).rstrip("/")


def archive(entries: Iterable[tuple[tarfile.TarInfo, IO[bytes] | None]], owner: Owner | None) -> Iterator[bytes]:
    """A tar archive with names that begin at the root of a container."""
    for member, content in entries:
        renamed = copy(member)
        renamed.name = renamed.name.lstrip("/")
        renamed.linkname = renamed.linkname.lstrip("/") if renamed.islnk() else renamed.linkname
        renamed.pax_headers = {
            key: value for key, value in renamed.pax_headers.items() if key.startswith("SCHILY.xattr.")
        }
        if owner is not None:
            renamed.uid, renamed.gid, renamed.uname, renamed.gname = owner.uid, owner.gid, "", ""
        yield renamed.tobuf(tarfile.PAX_FORMAT)
        if content is not None:
            while piece := content.read(_PIECE_BYTES):
                yield piece
            yield bytes(-renamed.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def directories(names: Iterable[str]) -> Iterator[tuple[tarfile.TarInfo, None]]:
    """Empty ones."""
    for name in names:
        yield _directory(name), None


def is_archive(file: IO[bytes]) -> bool:
    """Whether ``ADD`` unpacks it."""
    beginning = file.read(_MAGIC_AT + len(_MAGIC))
    file.seek(0)
    return beginning[_MAGIC_AT:] == _MAGIC or any(map(beginning.startswith, _COMPRESSED))


def spool(pieces: Iterable[bytes], file: IO[bytes], most_bytes: int) -> None:
    """All of `pieces` into `file`.

    Raises:
        BuildFailed: it is too much.
    """
    left = most_bytes or 1 << 62
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise BuildFailed(f"the context is larger than {most_bytes} bytes ([docker] dind_max_bytes)")
        file.write(piece)
    file.seek(0)


def _plain(file: IO[bytes], most_bytes: int, directory: Path) -> IO[bytes]:
    beginning = file.read(8)
    file.seek(0)
    opener = next((each for magic, each in _COMPRESSED.items() if beginning.startswith(magic)), None)
    if opener is None:
        return file
    with ExitStack() as stack:
        plain: IO[bytes] = stack.enter_context(TemporaryFile(dir=directory))
        with opener(file) as stream:
            spool(iter(lambda: stream.read(_PIECE_BYTES), b""), plain, most_bytes)
        stack.pop_all()
    return plain


def _inside(name: str) -> str:
    """No name leads out of the context."""
    return posixpath.normpath(posixpath.join("/", name)).lstrip("/")


def _directory(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    return entry


def _matches(name: list[str], pattern: list[str]) -> bool:
    return len(name) == len(pattern) and all(map(fnmatch.fnmatchcase, name, pattern))
