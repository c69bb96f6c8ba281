"""``payload.mounts`` as values: what is to be where, and what it is made of."""

import base64
import binascii
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from taskward.executor.names import namespace_refusal, refusal, shown

SHOWN_CHARACTERS: Final = 100


@dataclass(frozen=True)
class ArtifactContent:
    """An artifact of a task that this one depends on."""

    task_id: str
    artifact: str
    sha256: str = ""

    @property
    def key(self) -> str:
        """What the store of downloads knows it by."""
        return f"artifact:{self.task_id}:{self.artifact}"

    def __str__(self) -> str:
        return f"task {self.task_id} artifact {self.artifact}"


@dataclass(frozen=True)
class IndexedContent:
    """An artifact of the task that the index names when the mount is made."""

    namespace: str
    artifact: str

    def __str__(self) -> str:
        return f"index {self.namespace} artifact {self.artifact}"


@dataclass(frozen=True)
class UrlContent:
    """Whatever is at an http or https URL."""

    url: str
    sha256: str = ""

    @property
    def key(self) -> str:
        """What the store of downloads knows it by."""
        return f"urlcontent:{self.url}"

    def __str__(self) -> str:
        """Without a password."""
        parts = urlsplit(self.url)
        return f"url {parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()}"


@dataclass(frozen=True)
class InlineContent:
    """Bytes that stand in the payload itself."""

    data: bytes
    kind: Literal["Raw", "Base64"]

    def __str__(self) -> str:
        return f"{self.kind} content of {len(self.data)} bytes"


Downloadable = ArtifactContent | UrlContent
Content = ArtifactContent | IndexedContent | UrlContent | InlineContent


@dataclass(frozen=True)
class FileMount:
    """A file with that content; `format` names its compression, if it is to be decompressed."""

    path: str
    content: Content
    format: str


@dataclass(frozen=True)
class ReadOnlyDirectory:
    """A directory with what was in an archive."""

    path: str
    content: Content
    format: str


@dataclass(frozen=True)
class WritableCache:
    """A directory that later tasks of this worker get as this one leaves it; content is for a new one."""

    path: str
    name: str
    content: Content | None
    format: str

    @property
    def scope(self) -> str:
        """What the task must have."""
        return f"generic-worker:cache:{self.name}"


Mount = FileMount | ReadOnlyDirectory | WritableCache


def parse(entry: Mapping[str, Any]) -> Mount:
    """From an entry that conforms to the schema and has no `flaws`."""
    content, form = entry.get("content"), entry.get("format", "")
    if "cacheName" in entry:
        return WritableCache(entry["directory"], entry["cacheName"], _content(content) if content else None, form)
    if "directory" in entry:
        return ReadOnlyDirectory(entry["directory"], _content(entry["content"]), form)
    return FileMount(entry["file"], _content(entry["content"]), form)


def flaws(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the schema cannot say, one line each."""
    for number, entry in enumerate(entries):
        where = f"mounts.{number}"
        for key in ("file", "directory"):
            if key in entry and not entry[key].strip("/"):
                yield f"{where}.{key}: must name something"
        if entry.get("cacheName") == "":
            yield f"{where}.cacheName: must not be empty"
        yield from (f"{where}.content.{flaw}" for flaw in _flaws(entry.get("content", {})))


def _flaws(content: Mapping[str, Any]) -> Iterator[str]:
    if "url" in content:
        try:
            parts = urlsplit(content["url"])
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or not content["url"].isprintable() or " " in content["url"]:
            yield f"url: must be an http or https URL (given: {content['url'][:SHOWN_CHARACTERS]!r})"
    if "artifact" in content and (why := refusal(content["artifact"])):
        yield f"artifact: no artifact can be named {shown(content['artifact'])!r}: {why}"
    if "namespace" in content and (why := namespace_refusal(content["namespace"])):
        yield f"namespace: {why}"
    if "base64" in content:
        try:
            _decoded(content["base64"])
        except binascii.Error as error:
            yield f"base64: cannot be decoded: {error}"


def _content(content: Mapping[str, Any]) -> Content:
    match content:
        case {"taskId": task_id, "artifact": artifact}:
            return ArtifactContent(task_id, artifact, content.get("sha256", ""))
        case {"namespace": namespace, "artifact": artifact}:
            return IndexedContent(namespace, artifact)
        case {"url": url}:
            return UrlContent(url, content.get("sha256", ""))
        case {"raw": raw}:
            return InlineContent(raw.encode(), "Raw")
        case _:
            return InlineContent(_decoded(content["base64"]), "Base64")


def _decoded(text: str) -> bytes:
    if len(text) % 4:  # Python bears more padding than there is room for
        raise binascii.Error("Incorrect padding")
    return base64.b64decode(text, validate=True)


def place(mount: Mount, home: str) -> str:
    """Where it goes: absolute, without ``.`` and ``..``; relative paths begin in the task directory `home`."""
    path = posixpath.normpath(posixpath.join(home, mount.path))
    return f"/{path.lstrip('/')}"  # two slashes in front mean something of their own to POSIX
