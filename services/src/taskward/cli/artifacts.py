"""Lists a run's artifacts and brings them to disk."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from taskward.cli.errors import CommandError
from taskward.cli.follow import download

DOWNLOADED: Final = frozenset({"s3", "object", "link"})
"""Storage types with content; `reference` leads elsewhere and `error` has none."""


@dataclass(frozen=True)
class Listed:
    """One artifact of a run."""

    name: str
    storage_type: str
    content_type: str


def listed(queue: Any, task_id: str, run_id: int) -> Iterator[Listed]:
    """All artifacts, page by page."""
    token: str | None = None
    while True:
        query = {"continuationToken": token} if token else {}
        page = queue.listArtifacts(task_id, run_id, query=query)
        for each in page["artifacts"]:
            yield Listed(each["name"], each["storageType"], each["contentType"])
        token = page.get("continuationToken")
        if not token:
            return


def fetch(queue: Any, task_id: str, run_id: int, name: str, directory: Path) -> int:
    """Saves one artifact below `directory` under its own name; returns its size in bytes.

    Raises:
        CommandError: the name would lead out of `directory`, or nothing can be saved there.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise CommandError(f"artifact {name!r} would be saved outside of {directory}; get it by hand")
    target = directory.joinpath(*parts)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.parent.resolve().is_relative_to(directory.resolve()):
            raise CommandError(f"artifact {name!r}: a symbolic link leads out of {directory}")
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise CommandError(f"artifact {name!r} cannot be saved as {target}: {error.strerror}") from error
    with os.fdopen(fd, "wb") as stream:
        return download(queue, task_id, run_id, name, stream.write)
