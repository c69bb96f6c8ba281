"""Lists a run's artifacts and brings them to disk."""

import errno
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import requests

from taskward.cli.errors import NotSaved
from taskward.cli.follow import download
from taskward.cli.insistence import SILENT, Insistence

DOWNLOADED: Final = frozenset({"s3", "object", "link"})
"""Storage types with content; `reference` leads elsewhere and `error` has none."""


@dataclass(frozen=True)
class Listed:
    """One artifact of a run; `problem` is why it could not be saved, or empty."""

    name: str
    storage_type: str
    content_type: str
    problem: str = ""


def listed(queue: Any, task_id: str, run_id: int, insistence: Insistence = SILENT) -> Iterator[Listed]:
    """All artifacts, page by page."""
    token: str | None = None
    while True:
        query = {"continuationToken": token} if token else {}
        page = insistence.ask(lambda query=query: queue.listArtifacts(task_id, run_id, query=query))  # type: ignore[misc] # bound at once
        for each in page["artifacts"]:
            yield Listed(each["name"], each["storageType"], each["contentType"])
        token = page.get("continuationToken")
        if not token:
            return


def fetch(queue: Any, task_id: str, run_id: int, name: str, directory: Path) -> int:
    """Saves one artifact below `directory` under its own name; returns its size in bytes.

    It is there whole or not at all: until it is whole it has a hidden name beside its own.

    Raises:
        NotSaved: the name would lead out of `directory`, or to another artifact's file; nothing can be saved there; it
            cannot be had whole.
    """
    from taskcluster.exceptions import TaskclusterFailure

    target = _place(name, directory)
    draft = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with draft.open("xb") as stream:
            size_bytes = download(queue, task_id, run_id, name, stream.write)
        draft.rename(target)
    except (requests.RequestException, TaskclusterFailure) as error:
        raise NotSaved(f"artifact {name!r} cannot be fetched: {_reason(error)}") from error
    except OSError as error:
        raise NotSaved(f"artifact {name!r} cannot be saved as {target}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return size_bytes


def _place(name: str, directory: Path) -> Path:
    """Where it will be; the directory for it is made."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise NotSaved(f"artifact {name!r} would be saved outside of {directory}; get it by hand")
    if (plain := "/".join(parts)) != name:
        raise NotSaved(f"artifact {name!r} would be saved as {plain!r}, which is another artifact; get it by hand")
    target = directory.joinpath(*parts)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.parent.resolve().is_relative_to(directory.resolve()):
            raise NotSaved(f"artifact {name!r}: a symbolic link leads out of {directory}")
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        raise NotSaved(f"artifact {name!r} cannot be saved as {target}: {error.strerror}") from error
    return target


def _reason(error: Exception) -> str:
    """Without the signature in an address, which is as good as credentials."""
    if isinstance(error, requests.HTTPError):
        return f"{error.response.status_code} {error.response.reason}"
    return re.sub(r"bewit=[\w%-]+", "bewit=…", str(error))
