"""Which artifacts a run has, before anything is moved: names, content, expiry, and what is wrong with them."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, Self

from taskward.core.clock import format_time
from taskward.core.outbox import Entry, ErrorReason
from taskward.core.outcome import Outcome, exception, failed
from taskward.executor import names
from taskward.executor.content import content_encoding, content_type
from taskward.executor.payload_artifacts import ArtifactRequest
from taskward.executor.search import Found
from taskward.executor.task import Task
from taskward.executor.tasklog import TaskLog

_LONGEST_MESSAGE: Final = 4000  # the queue takes 4096

Find = Callable[[Literal["file", "directory"], str, int], Iterator[Found]]


@dataclass
class Plan:
    """Grows while the payload's requests are looked at.

    Attributes:
        reserved: artifact name → the feature that publishes it later.
        expires: the task's own expiry.
        most: how many artifacts a run may have.
        most_bytes: how large all files may be together; 0 is no limit.
        definition_url: where the task's author can look up what the payload says.
        entries: what the outbox will list.
        sources: file name in the outbox → where the file is now.
        first_error: what it makes of the run; the first stands.
    """

    log: TaskLog
    reserved: Mapping[str, str]
    expires: datetime
    most: int
    most_bytes: int
    definition_url: str
    entries: list[Entry] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    first_error: Outcome | None = None
    _names: dict[str, Entry] = field(default_factory=dict)
    _inodes: dict[tuple[int, int], str] = field(default_factory=dict)
    _conflicts: dict[str, str] = field(default_factory=dict)
    _bytes: int = 0

    @classmethod
    def of(cls, task: Task) -> Self:
        """Nothing yet."""
        told, root_url = task.settings.executor, task.settings.taskcluster.root_url.rstrip("/")
        url = f"{root_url}/api/queue/v1/task/{task.run.task_id}"
        limits = told.max_artifacts, told.max_artifacts_bytes
        return cls(task.log, task.reserved, task.expires, *limits, url)

    def add(self, request: ArtifactRequest, find: Find) -> None:
        """Everything that `request` leads to."""
        room = self.most - len(self.entries)
        count = 0
        kind: Final = "file" if request.type == "file" else "directory"
        for count, found in enumerate(find(kind, request.path, room + 1), 1):
            if count <= room:
                self._consider(request, found)
        if count > room:
            self._fail(
                f"the task has more than {self.most} artifacts, the most that are allowed; the rest is not uploaded"
            )

    def _consider(self, request: ArtifactRequest, found: Found) -> None:
        name = request.artifact_name(found.relative)
        if why := names.refusal(name):
            text = f'invalid-resource-on-worker: no artifact can be named "{names.shown(name)}": {why}'
            self.log.warn(text) if request.optional else self._fail(text)
        elif name in self.reserved:
            self.log.warn(
                f"Not uploading artifact {name} found in task.payload.artifacts section, since this will be uploaded "
                f"later by {self.reserved[name]}"
            )
        else:
            self._enter(request, found, name)

    def _within_limit(self, found: Found) -> Found:
        """`found`, or why it is too large: a sparse file costs the task nothing, and the uploader all its bytes."""
        if found.reason or (found.device, found.inode) in self._inodes:
            return found
        if self.most_bytes and self._bytes + found.size_bytes > self.most_bytes:
            text = (
                f"'{found.path}' has {found.size_bytes} bytes; with it the task's artifacts would have more than "
                f"{self.most_bytes}, the most that are allowed ([executor] max_artifacts_bytes)"
            )
            return replace(found, size_bytes=0, reason="too-large-file-on-worker", message=text)
        self._bytes += found.size_bytes
        return found

    def _enter(self, request: ArtifactRequest, found: Found, name: str) -> None:
        found = self._within_limit(found)
        entry = Entry(
            name=name,
            file="" if found.reason else self._file(found),
            size_bytes=found.size_bytes,
            content_type=content_type(request, found.path),
            content_encoding=content_encoding(request, found.path),
            expires=format_time(min(request.expires or self.expires, self.expires)),
            reason=found.reason,
            message=_one_line(found.message),
            optional=request.optional,
        )
        if name in self._names:
            self._again(entry)
            return
        self._names[name] = entry
        self.entries.append(entry)
        if entry.file and (why := names.obstacle(name)):
            self.log.warn(f"artifact {name} is uploaded, but readers may fail to fetch it: {why}; give it another name")
        if entry.reason and entry.reason != "" and not request.optional:
            self.report(entry, found.path)

    def _file(self, found: Found) -> str:
        """One file in the outbox for each file, under however many names."""
        file = self._inodes.setdefault((found.device, found.inode), str(len(self.sources)))
        self.sources.setdefault(file, found.path)
        return file

    def _again(self, entry: Entry) -> None:
        is_same = replace(entry, optional=False) == replace(self._names[entry.name], optional=False)
        if is_same or entry.name in self._conflicts:
            return
        text = (
            f"artifact '{entry.name}' is listed more than once in task.payload.artifacts, with different content; "
            f"see {self.definition_url}"
        )
        self._conflicts[entry.name] = text
        self.first_error = self.first_error or exception("malformed-payload", text)

    def report(self, entry: Entry, path: str) -> None:
        """The lines for an artifact that cannot be had, and what it means for the run."""
        self.log.error(
            f'Uploading error artifact {entry.name} from file {_one_line(path)} with message "{entry.message}", '
            f'reason "{entry.reason}" and expiry {entry.expires}'
        )
        self._fail(f"{entry.reason}: {entry.message}")

    def spoil(self, file: str, reason: ErrorReason, message: str) -> None:
        """A file could not be taken after all: its entries become errors."""
        for number, entry in enumerate(self.entries):
            if entry.file == file:
                spoiled = replace(entry, file="", size_bytes=0, reason=reason, message=_one_line(message))
                self.entries[number] = spoiled
                if not entry.optional:
                    self.report(spoiled, self.sources[file])

    def hand_over(self, task: Task) -> None:
        """What became of it; each conflict is told once: here, unless the log ends with it because it decides."""
        task.entries += self.entries
        if self.first_error:
            task.fail(self.first_error)
        last_line = task.outcome.message if task.outcome else ""
        for text in self._conflicts.values():
            if text != last_line:
                self.log.error(text)

    def _fail(self, text: str) -> None:
        self.log.error(f"TASK FAILURE during artifact upload: {text}")
        self.first_error = self.first_error or failed(text)


def _one_line(text: str) -> str:
    plain = os.fsencode(text).decode("utf-8", "backslashreplace")
    return (
        plain.encode("unicode_escape").decode()[:_LONGEST_MESSAGE]
        if not plain.isprintable()
        else plain[:_LONGEST_MESSAGE]
    )
