"""Programs of this host that run in any container of its architecture: copied with their libraries and their loader.

A directory of them is named after what it was made of, so that an upgraded library makes another.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from taskward.executor.environment import PATH
from taskward.executor.errors import EngineFailed

PROGRAMS: Final = {"x11vnc": "x11vnc", "socat": "socat", "xdpyinfo": "x11-utils"}
"""Program → Debian's package."""

BUNDLE: Final = Path("/usr/local/lib/taskward/display-tools")
"""An executor's image has them here as `Tools.find` found them elsewhere, and not their packages."""

TARGET: Final = "/.taskclusterutils"
"""Where containers have them, as docker-worker's."""

LOADER: Final = "loader"
_LIBRARY: Final = re.compile(r"^\s*(?P<name>\S+) => (?P<path>/\S+)", re.MULTILINE)
_ABSENT: Final = re.compile(r"^\s*(?P<name>\S+) => not found", re.MULTILINE)
_INTERPRETER: Final = re.compile(r"^\s*(?P<path>/\S+) \(0x", re.MULTILINE)
_ANSWERS_WITHIN_S: Final = 20.0
_OLD_S: Final = 86_400.0


@dataclass(frozen=True)
class Tools:
    """`files`: name in the container → file of this host."""

    files: dict[str, Path]

    @classmethod
    def find(cls) -> Self:
        """Those of this host.

        Raises:
            EngineFailed: a program is not installed, or nobody knows what it needs.
        """
        if BUNDLE.is_dir():
            return cls({path.name: path for path in BUNDLE.iterdir()})
        files: dict[str, Path] = {}
        for name, package in PROGRAMS.items():
            program = shutil.which(name, path=PATH)
            if program is None:
                raise EngineFailed(f"{name} is not installed on this worker (Debian's package {package})")
            files[name] = Path(program)
            files |= _needs(program)
        return cls(files)

    def lay_out(self, parent: Path) -> Path:
        """A directory below `parent` with all of them; made by the first who asks, who also removes those of old.

        Raises:
            EngineFailed: it cannot be made.
        """
        try:
            place = parent / self._digest()
            if not place.is_dir():
                parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                self._copy_to(place)
        except OSError as error:
            raise EngineFailed(f"programs for displays cannot be copied: {error}") from error
        return place

    def _copy_to(self, place: Path) -> None:
        draft = Path(tempfile.mkdtemp(dir=place.parent, prefix="draft-"))
        for name, path in self.files.items():
            shutil.copyfile(path, draft / name)
            (draft / name).chmod(0o755)
        draft.chmod(0o755)
        try:
            draft.rename(place)
        except OSError:
            shutil.rmtree(draft)
            if not place.is_dir():  # else somebody was faster
                raise
        for other in place.parent.iterdir():
            if other.stat().st_mtime < time.time() - _OLD_S:
                shutil.rmtree(other, ignore_errors=True)

    def _digest(self) -> str:
        return hashlib.sha256("\n".join(_described(self.files)).encode()).hexdigest()[:16]


def _needs(program: str) -> dict[str, Path]:
    try:
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, timeout=_ANSWERS_WITHIN_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineFailed(f"what {program} needs cannot be found out: {error}") from error
    if absent := _ABSENT.search(listed.stdout):
        raise EngineFailed(f"{absent['name']}, which {program} needs, is not installed on this worker")
    loader = _INTERPRETER.search(listed.stdout)
    if loader is None:
        raise EngineFailed(f"what {program} needs cannot be found out: ldd names no loader")
    libraries = {each["name"]: Path(each["path"]) for each in _LIBRARY.finditer(listed.stdout)}
    return {LOADER: Path(loader["path"]), **libraries}


def _described(files: dict[str, Path]) -> Iterator[str]:
    for name, path in sorted(files.items()):
        found = path.stat()
        yield f"{name} {path} {found.st_size} {found.st_mtime_ns}"
