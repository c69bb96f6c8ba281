"""Members of a tar archive by name, and where links among them lead: never out of the archive."""

import os
import posixpath
import tarfile
from typing import IO, Final

from taskward.executor.docker.dind.build.errors import BuildFailed

_MOST_ENTRIES: Final = 200_000
_MOST_LINKS: Final = 255
_LONGEST_PATH: Final = 4096


class Members:
    """Of the archive in `file`, as Go reads it: blocks of zeros are missing at the end of what some clients send.

    Attributes:
        by_name: with the directories that the archive only implies; directory by directory, as archives are made, so
            that hard links come after what they are links to.

    Raises:
        BuildFailed: there are too many, or the archive is broken off.
        tarfile.TarError, OSError: it is no archive.
    """

    def __init__(self, file: IO[bytes]) -> None:
        length = file.seek(0, os.SEEK_END)
        file.write(bytes(-length % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE))
        file.seek(0)
        self.archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - `close` closes it
        found: dict[str, tarfile.TarInfo] = {}
        for number, member in enumerate(self.archive):
            if number >= _MOST_ENTRIES:
                raise BuildFailed(f"the context has more than {_MOST_ENTRIES} entries")
            _require_whole(member, length)
            found[inside(member.name)] = member
        self._require_end(file)
        for name in list(found):
            while name := posixpath.dirname(name):
                found.setdefault(name, directory(name))
        self.by_name = dict(sorted(found.items(), key=_as_walked))

    def close(self) -> None:
        """Nothing more is read."""
        self.archive.close()

    def real(self, name: str) -> str | None:
        """The name of what is at `name`, when every symbolic link is followed; None when nothing is.

        The root of links is the archive's.

        Raises:
            BuildFailed: there are too many links.
        """
        at, left, links = "", name.split("/")[::-1], 0
        while left:
            part = left.pop()
            place = posixpath.dirname(at) if part == ".." else at if part in ("", ".") else posixpath.join(at, part)
            member = self.by_name.get(place)
            if member is None or not member.issym():
                at = place
                if at and member is None:
                    return None
                continue
            links += 1
            if links > _MOST_LINKS or len(member.linkname) > _LONGEST_PATH:
                raise BuildFailed(f"{name[:200]!r} leads through too many links")
            at = "" if member.linkname.startswith("/") else at
            left += member.linkname.split("/")[::-1]
        return at

    def plain(self, member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        """The plain file that it is, perhaps by hard links; None where it is something else."""
        for _ in range(_MOST_LINKS):
            if not member.islnk():
                return member if member.isreg() else None
            linked = self.by_name.get(inside(member.linkname))
            if linked is None:
                return None
            member = linked
        return None

    def content(self, member: tarfile.TarInfo) -> IO[bytes] | None:
        """Of a plain file; None for anything else."""
        return self.archive.extractfile(member) if member.isreg() else None

    def _require_end(self, file: IO[bytes]) -> None:
        """A header that cannot be read ends the archive for Python, though there is more."""
        file.seek(self.archive.offset)
        if any(file.read(tarfile.BLOCKSIZE)):
            raise BuildFailed(f"the context is no tar archive any more at byte {self.archive.offset}")


def inside(name: str) -> str:
    """No name leads out of the archive."""
    return posixpath.normpath(posixpath.join("/", name)).lstrip("/")


def directory(name: str) -> tarfile.TarInfo:
    """An empty one, with the usual owner and mode."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    return entry


def _require_whole(member: tarfile.TarInfo, length: int) -> None:
    if member.issparse():  # a few bytes could become terabytes
        raise BuildFailed(f"the context has the sparse file {member.name[:200]!r}: pack it without --sparse")
    if member.isreg() and member.offset_data + member.size > length:
        raise BuildFailed(f"the context is broken off in the middle of {member.name[:200]!r}")


def _as_walked(named: tuple[str, tarfile.TarInfo]) -> list[str]:
    return named[0].split("/")
