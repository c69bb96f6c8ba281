"""What the executor leaves for the uploader: a directory with numbered files and an `index.json`.

One artifact may be sent before the run ends: `early.json` has its entry.

The executor (root) writes the index before it moves the first file, the uploader only reads. Nothing of it can be
changed by the task any more.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self

INDEX: Final = "index.json"
EARLY: Final = "early.json"

ErrorReason = Literal[
    "file-missing-on-worker",
    "invalid-resource-on-worker",
    "file-not-readable-on-worker",
    "too-large-file-on-worker",
]


@dataclass(frozen=True)
class Entry:
    """One artifact to be.

    Attributes:
        name: the artifact's name.
        file: file name inside the outbox; empty for an error artifact.
        size_bytes: of the file as it is.
        content_type: of the content.
        content_encoding: ``gzip`` (compressed while it is sent) or ``identity``.
        expires: the queue's spelling of a time, computed once.
        reason: why there is no file (error artifact).
        message: text of an error artifact.
        optional: a failure to send it does not fail the run.
    """

    name: str
    file: str
    size_bytes: int
    content_type: str
    content_encoding: Literal["gzip", "identity"]
    expires: str
    reason: str = ""
    message: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Index:
    """Everything the uploader needs to know of a run.

    Attributes:
        entries: all artifacts.
        batches: which entries (by position) each upload job sends; balanced by bytes and count.
        log: path of the run's log file.
        live_log_name: artifact that becomes a link to the backing log; empty when there is none.
        backing_log_name: artifact name of the log; empty when it is not wanted.
        expires: the task's own expiry, for logs and signed documents.
        certify: whether the run asked for chain of trust.
        certificate: whether it asked for the older `generateCertificate`.
        bulk_log_name: artifact name under which the log is published once more; empty when it is not wanted.
    """

    entries: tuple[Entry, ...]
    batches: tuple[tuple[int, ...], ...]
    log: str
    live_log_name: str
    backing_log_name: str
    expires: str
    certify: bool = False
    certificate: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    bulk_log_name: str = ""

    @property
    def signed(self) -> bool:
        """Whether anything is to be signed."""
        return self.certify or self.certificate

    def write(self, outbox: Path) -> None:
        """Writes the index whole or not at all."""
        _write(outbox, INDEX, {**vars(self), "entries": [vars(entry) for entry in self.entries]})

    @classmethod
    def read(cls, outbox: Path) -> Self:
        """The index of an outbox.

        Raises:
            FileNotFoundError: the executor never got so far.
        """
        data: dict[str, Any] = json.loads((outbox / INDEX).read_text())
        data["entries"] = tuple(Entry(**entry) for entry in data["entries"])
        data["batches"] = tuple(tuple(batch) for batch in data["batches"])
        return cls(**data)


def write_early(outbox: Path, entry: Entry) -> None:
    """Says what is to be sent before the run ends; it has to be the first entry of the index later, too."""
    _write(outbox, EARLY, vars(entry))


def read_early(outbox: Path) -> Entry | None:
    """What `write_early` said; None when it said nothing."""
    try:
        return Entry(**json.loads((outbox / EARLY).read_text()))
    except FileNotFoundError:
        return None


def _write(outbox: Path, name: str, value: object) -> None:
    draft = outbox / f".{name}"
    draft.write_text(json.dumps(value))
    draft.rename(outbox / name)


def balance(entries: tuple[Entry, ...], most_batches: int, least_bytes: int = 8 << 20, least_count: int = 50) -> tuple[tuple[int, ...], ...]:  # fmt: skip  # noqa: E501
    """Splits entries into batches of about the same work, biggest first, none split for less than it is worth."""
    total = sum(entry.size_bytes for entry in entries)
    wanted = max(1, min(most_batches, max(total // least_bytes, len(entries) // least_count)))
    batches: list[list[int]] = [[] for _ in range(wanted)]
    loads = [0] * wanted
    for number in sorted(range(len(entries)), key=lambda n: -entries[n].size_bytes):
        lightest = loads.index(min(loads))
        batches[lightest].append(number)
        loads[lightest] += entries[number].size_bytes + (64 << 10)
    return tuple(tuple(batch) for batch in batches if batch)
