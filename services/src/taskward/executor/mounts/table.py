"""What is mounted now, from the kernel's own table; and how to take it away again."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from taskward.executor.mounts import kernel

_TABLE: Final = Path("/proc/self/mountinfo")
_ESCAPE: Final = re.compile(rb"\\([0-7]{3})")


def detach_below(directory: Path) -> None:
    """Every mount at or below `directory`, the innermost first.

    Raises:
        OSError: one cannot be taken away; nothing below `directory` may be deleted.
    """
    _detach(lambda _root, place: place == str(directory) or place.startswith(f"{directory}/"))


def detach_content(item_id: str) -> None:
    """Every mount that shows the content of the item of a shelf, wherever it is.

    Raises:
        OSError: one cannot be taken away.
    """
    _detach(lambda root, _place: f"/{item_id}/" in f"{root}/")


def _detach(wanted: Callable[[str, str], bool]) -> None:
    places = [place for root, place in _mounts() if wanted(root, place)]
    for place in reversed(places):  # later mounts come later in the table
        with suppress(FileNotFoundError):
            kernel.detach(Path(place))


def _mounts() -> Iterator[tuple[str, str]]:
    """What part of its file system is shown, and where."""
    for line in _TABLE.read_bytes().split(b"\n")[:-1]:
        fields = line.split(b" ")
        yield _plain(fields[3]), _plain(fields[4])


def _plain(text: bytes) -> str:
    """Blanks and line feeds are written as octal numbers; the other ends of lines that Unicode has are not."""
    return os.fsdecode(_ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), text))
