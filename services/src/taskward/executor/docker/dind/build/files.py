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
from taskward.executor.docker.dind.build.members import Members, directory, inside

_PIECE_BYTES: Final = 1 << 18
_COMPRESSED: Final[dict[bytes, Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_MAGIC_AT, _MAGIC = 257, b"ustar"


@dataclass(frozen=True)
class Owner:
    """Of what is copied; None keeps what the archive says."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Source:
    """What ``COPY`` means: `path` is where it is, all links followed, `name` how it is called at the target."""

    path: str
    name: str


class Files:
    """Of a tar archive on disk; `close` it."""

    def __init__(self, members: Members) -> None:
        self._members = members

    @classmethod
    def open(cls, file: IO[bytes], most_bytes: int, directory: Path) -> Self:
        """The archive in `file`, perhaps compressed; then it is written plainly to `directory`, where it has no name.

        Raises:
            BuildFailed: there is none.
        """
        try:
            return cls(Members(_plain(file, most_bytes, directory)))
        except (tarfile.TarError, EOFError, ValueError, lzma.LZMAError, OSError) as error:
            raise BuildFailed(f"the context is no tar archive: {error}") from error

    def close(self) -> None:
        """Nothing more is read."""
        self._members.close()

    def text(self, name: str) -> str:
        """Of one file.

        Raises:
            BuildFailed: it is not there.
        """
        path = self._members.real(inside(name))
        content = self.open_file(path) if path else None
        if content is None:
            raise BuildFailed(f"Cannot locate specified Dockerfile: {name}")
        return content.read(_PIECE_BYTES * 4).decode("utf-8", "replace")

    def matching(self, pattern: str) -> list[Source]:
        """What `pattern` means, ``*`` not reaching beyond a slash; the empty name is everything.

        Raises:
            BuildFailed: there is nothing, or only a link that leads to nothing.
        """
        name = inside(pattern)
        if self._members.by_name and (path := self._members.real(name)) is not None:
            return [Source(path, posixpath.basename(name))]
        return [self._source(each) for each in self.names(name)]

    def names(self, pattern: str) -> list[str]:
        """Of all that `pattern` matches; links are not followed.

        Raises:
            BuildFailed: there is nothing.
        """
        name = inside(pattern)
        parts = name.split("/")
        found = sorted(each for each in self._members.by_name if _matches(each.split("/"), parts))
        if not found:
            raise _not_found(name)
        return found

    def is_directory(self, path: str) -> bool:
        """Whether there is more below it."""
        return not path or self._members.by_name[path].isdir()

    def open_file(self, path: str) -> IO[bytes] | None:
        """A plain file's content; None for anything else."""
        member = self._members.by_name.get(path)
        plain = self._members.plain(member) if member is not None else None
        return self._members.content(plain) if plain is not None else None

    def below(self, path: str, target: str) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
        """`path` as `target`, and with a directory what is in it; links in there stay links."""
        for each in self._tree(path):
            member = self._members.by_name[each]
            place = posixpath.join(target, each[len(path) :].lstrip("/")).rstrip("/")
            if place.strip("/"):
                kept = self._linked(member, path, target) if member.islnk() else copy(member)
                kept.name = place
                yield kept, self._members.content(kept)

    def size_bytes(self, path: str) -> int:
        """Of all files that `below` tells: links can make them more than the archive holds."""
        return sum(kept.size for kept, content in self.below(path, "/any") if content is not None)

    def _tree(self, path: str) -> Iterable[str]:
        if not self.is_directory(path):
            return (path,)
        prefix = f"{path}/" if path else ""
        return (each for each in self._members.by_name if each == path or each.startswith(prefix))

    def _source(self, name: str) -> Source:
        path = self._members.real(name)
        if path is None:
            raise _not_found(name)
        return Source(path, posixpath.basename(name))

    def _linked(self, member: tarfile.TarInfo, path: str, target: str) -> tarfile.TarInfo:
        """A hard link to what is copied with it, else the file that it is."""
        linked, found = inside(member.linkname), self._members.plain(member)
        if found is None:
            raise BuildFailed(f"{member.name} is a hard link to {linked}, which is no file of the context")
        if linked == path or not linked.startswith(f"{path}/" if path else ""):
            return copy(found)
        kept = copy(member)
        kept.linkname = posixpath.join(target, linked[len(path) :].lstrip("/")).rstrip("/")
        return kept


def archive(entries: Iterable[tuple[tarfile.TarInfo, IO[bytes] | None]], owner: Owner | None) -> Iterator[bytes]:
    """A tar archive with names that begin at the root of a container."""
    for member, content in entries:
        renamed = copy(member)
        renamed.name = renamed.name.lstrip("/")
        renamed.linkname = renamed.linkname.lstrip("/") if renamed.islnk() else renamed.linkname
        renamed.size = renamed.size if content is not None else 0
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
        yield directory(name), None


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


def _not_found(name: str) -> BuildFailed:
    return BuildFailed(f"file not found in build context: stat {name}: file does not exist")


def _matches(name: list[str], pattern: list[str]) -> bool:
    return len(name) == len(pattern) and all(map(fnmatch.fnmatchcase, name, pattern))
