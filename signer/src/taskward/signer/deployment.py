"""Whose runs these are: the one worker that is served here, and the Taskcluster that is asked about its runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from taskward.signer.errors import SettingsError
from taskward.signer.sections import Section


@dataclass(frozen=True)
class WorkerIdentity:
    """The worker, in the words of the queue."""

    task_queue_id: str
    worker_group: str
    worker_id: str


@dataclass(frozen=True)
class Deployment:
    """What ``[taskcluster]`` and ``[worker]`` say, and ``client_id`` and ``access_token_file`` of an own section."""

    KEYS: ClassVar = ("client_id", "access_token_file")

    root_url: str
    credentials: tuple[str, str] | None
    """Client id and access token for reading the queue; None reads anonymously."""
    worker: WorkerIdentity

    @classmethod
    def read(cls, file: Path, own: Section) -> "Deployment":
        """Raises `SettingsError`."""
        worker = Section(file, "worker", None)
        return cls(
            root_url=_root_url(Section(file, "taskcluster", None)),
            credentials=_credentials(own),
            worker=WorkerIdentity(worker.text("task_queue_id"), worker.text("worker_group"), worker.text("worker_id")),
        )


def _root_url(section: Section) -> str:
    url = section.text("root_url").rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise SettingsError(f"root_url in {section.where} has to be an http or https URL, not {url!r}")
    return url


def _credentials(section: Section) -> tuple[str, str] | None:
    if section.has("client_id") != section.has("access_token_file"):
        raise SettingsError(f"client_id and access_token_file in {section.where} go together; one is missing")
    if not section.has("client_id"):
        return None
    file = section.path("access_token_file")
    try:
        return section.text("client_id"), file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"cannot read access_token_file {file}: {error.strerror}") from error
