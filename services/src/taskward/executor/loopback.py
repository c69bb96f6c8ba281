"""Loopback devices of the kernel, for tasks that want a camera or a sound card: modules, device files, their groups."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskward.executor.errors import EngineFailed
from taskward.executor.ownership import group_of

_TIMEOUT_S: Final = 60
_SBIN: Final = "/usr/sbin:/sbin:/usr/bin:/bin"
_FOR_GROUP: Final = 0o660


@dataclass(frozen=True)
class Loopback:
    """One kind of device.

    Attributes:
        module: of the kernel.
        options: for `modprobe`.
        files: what the module makes.
        group: who may use them.
    """

    module: str
    options: tuple[str, ...]
    files: tuple[Path, ...]
    group: str

    def provide(self, search_path: str = _SBIN) -> None:
        """Loads the module, unless its devices are there, and gives them to the group.

        Raises:
            EngineFailed: this machine cannot; the text says what is missing.
        """
        if not self._are_there():
            self._load(search_path)
        if missing := [str(path) for path in self.files if not path.exists()]:
            raise EngineFailed(
                f"kernel module {self.module} did not make {', '.join(missing)}; was it loaded with other options?"
            )
        gid = group_of(self.group)
        if gid is None:
            raise EngineFailed(f"this machine has no group '{self.group}' for {self.files[0]}")
        try:
            for path in self.files:
                _give(path, gid)
        except OSError as error:
            raise EngineFailed(f"{error.filename} cannot be given to group {self.group}: {error.strerror}") from error

    def _are_there(self) -> bool:
        return all(path.exists() for path in self.files)

    def _load(self, search_path: str) -> None:
        modprobe = shutil.which("modprobe", path=search_path)
        if modprobe is None:
            raise EngineFailed(f"kernel module {self.module} cannot be loaded: there is no modprobe on this machine")
        argv: Sequence[str] = [modprobe, self.module, *self.options]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineFailed(f"kernel module {self.module} cannot be loaded: {error}") from error
        if done.returncode:
            raise EngineFailed(f"kernel module {self.module} cannot be loaded: {done.stderr.strip()}")


def _give(path: Path, gid: int) -> None:
    """Needs root, unless the machine's rules for devices have done it already."""
    found = path.stat()
    if found.st_gid != gid or found.st_mode & 0o777 != _FOR_GROUP:
        os.chown(path, 0, gid)
        path.chmod(_FOR_GROUP)


def video(number: int, devices: Path = Path("/dev")) -> Loopback:
    """A camera."""
    return Loopback("v4l2loopback", (f"video_nr={number}",), (devices / f"video{number}",), "video")


def audio(number: int, devices: Path = Path("/dev")) -> Loopback:
    """A sound card whose output is its input."""
    card = [f"controlC{number}", *(f"pcmC{number}D{device}{way}" for device in (0, 1) for way in "cp")]
    files = tuple(devices / "snd" / name for name in card)
    return Loopback("snd-aloop", ("enable=1", f"index={number}"), files, "audio")
