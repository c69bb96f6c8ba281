"""Which runs left something behind: what is theirs has their name."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from taskward.core.ids import RunId


def runs_in(parent: Path) -> set[RunId]:
    """Those that have an entry in a directory, which need not exist."""
    return runs_of(path.name for path in parent.iterdir()) if parent.is_dir() else set()


def runs_of(names: Iterable[str]) -> set[RunId]:
    """From ``taskId-runId``; other names are not ours."""
    found = set()
    for name in names:
        with contextlib.suppress(ValueError):
            found.add(RunId.of_directory(name))
    return found
