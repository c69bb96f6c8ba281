"""Room on the worker's disk, in bytes and in inodes: a file system that lacks either takes no further file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from taskward.core.settings import ExecutorSettings

Unit = Literal["bytes", "inodes"]


@dataclass(frozen=True)
class Shortage:
    """Less is free than must be.

    Attributes:
        unit: of what.
        least: how much must be free.
        free: how much is.
    """

    unit: Unit
    least: int
    free: int


@dataclass(frozen=True)
class Need:
    """What must be free.

    Attributes:
        size_bytes: so many bytes.
        inodes: so many inodes (each file and directory takes one), where the file system has a limit.
        share: but no more than one in so many of all inodes, since small file systems have few.
    """

    size_bytes: int
    inodes: int = 0
    share: int = 1

    @classmethod
    def before(cls, settings: ExecutorSettings) -> Self:
        """A task begins."""
        return cls(settings.required_disk_space_bytes, settings.required_inodes, share=4)

    @classmethod
    def always(cls, settings: ExecutorSettings) -> Self:
        """Whatever tasks do: for the worker itself."""
        return cls(settings.min_free_disk_bytes, settings.min_free_inodes, share=10)

    def shortage(self, directory: Path) -> Shortage | None:
        """What is too little on the file system of `directory`, if anything is."""
        found = os.statvfs(directory)
        if (free_bytes := found.f_bavail * found.f_frsize) < self.size_bytes:
            return Shortage("bytes", self.size_bytes, free_bytes)
        least = min(self.inodes, found.f_files // self.share)  # none at all are told where there is no limit
        if found.f_favail < least:
            return Shortage("inodes", least, found.f_favail)
        return None
