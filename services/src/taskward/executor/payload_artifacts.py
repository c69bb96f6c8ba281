"""What a payload wants to be kept, and under which names: the run's own rules, for the check before it as well."""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Self

from taskward.core.clock import parse_time
from taskward.executor import names

_CONTENT_TYPE: Final = re.compile(r"[\x20-\x7e]*")
_ANY_FILE: Final = "x"


@dataclass(frozen=True)
class ArtifactRequest:
    """One entry of ``payload.artifacts``; empty strings and None stand for the default.

    A ``volume`` is a directory that only containers have: it is there, and empty, before the task begins.
    """

    type: Literal["file", "directory", "volume"]
    path: str
    name: str
    expires: datetime | None
    content_type: str
    content_encoding: Literal["", "gzip", "identity"]
    optional: bool

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> Self:
        """From a valid entry of generic-worker's."""
        return cls(
            type=entry["type"],
            path=entry["path"],
            name=entry.get("name") or entry["path"],
            expires=parse_time(entry["expires"]) if "expires" in entry else None,
            content_type=entry.get("contentType", ""),
            content_encoding=entry.get("contentEncoding", ""),
            optional=entry.get("optional", False),
        )

    @classmethod
    def of_container(cls, name: str, entry: Mapping[str, Any]) -> Self:
        """From a valid entry of docker-worker's; a path begins at the root of the container."""
        return cls(
            type=entry["type"],
            path=posixpath.join("/", entry["path"]),
            name=name.rstrip("/"),
            expires=parse_time(entry["expires"]) if "expires" in entry else None,
            content_type="",
            content_encoding="",
            optional=False,
        )

    def artifact_name(self, relative: str = "") -> str:
        """The name of the file `relative` to the request's directory, or of the requested file itself.

        Parts ``.`` are dropped, as generic-worker does for directories.
        """
        if self.name != self.path and not relative:
            return self.name
        joined = posixpath.join(self.name, relative) if relative else self.name
        return posixpath.normpath(joined).lstrip("/")

    def flaw(self) -> str:
        """Why nothing that is found can have a name that the queue bears; empty if it can."""
        return names.refusal(self.artifact_name("" if self.type == "file" else _ANY_FILE))


def flaws(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What no run could upload, whatever it makes, in valid `entries` of generic-worker's; as ``<path>: <why>``.

    generic-worker's later schemas refuse such names as well (pull request 9098); before, its process died of them.
    """
    for number, entry in enumerate(entries):
        request, where = ArtifactRequest.parse(entry), f"artifacts.{number}"
        if why := request.flaw():
            key = "name" if entry.get("name") else "path"
            yield f"{where}.{key}: no artifact can be named '{names.shown(request.name)}': {why}"
        if not _CONTENT_TYPE.fullmatch(request.content_type):
            given = names.shown(request.content_type)
            yield f"{where}.contentType: must be printable ASCII, since it becomes a header (given: '{given}')"
