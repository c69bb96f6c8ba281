"""One artifact, from its description to the queue and to storage."""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from taskward.core.errors import Refused
from taskward.core.outcome import failed
from taskward.core.taskcluster import Taskcluster, segment
from taskward.uploader.claim import Claim
from taskward.uploader.content import Body, Digest
from taskward.uploader.errors import ArtifactLost, StorageRefused, UrlExpired, UrlUseless
from taskward.uploader.judgement import Judgement
from taskward.uploader.older import UNKNOWN_FORM, without_news
from taskward.uploader.transfer import Transfers

MAX_NAME_CHARACTERS: Final = 1024
MAX_MESSAGE_CHARACTERS: Final = 4096
_NAME: Final = re.compile(rf"[\x20-\x7e]{{1,{MAX_NAME_CHARACTERS}}}")
_CONTENT_TYPE: Final = re.compile(r"[\x20-\x7e]{1,255}")


@dataclass(frozen=True)
class Description:
    """What the queue is told of an artifact with content.

    Attributes:
        name: printable ASCII, at most 1024 characters.
        content_type: printable ASCII, at most 255 characters.
        expires: in the queue's spelling; the same at each attempt, or the queue answers 409.
        size_bytes: of the content before any encoding, when it is known.
        content_encoding: what storage is told.
    """

    name: str
    content_type: str
    expires: str
    size_bytes: int | None = None
    content_encoding: Literal["gzip", "identity"] = "identity"

    def properties(self, storage_type: str) -> dict[str, Any]:
        """The body of createArtifact."""
        properties = {"storageType": storage_type, "contentType": self.content_type, "expires": self.expires}
        return properties if self.size_bytes is None else {**properties, "contentLength": self.size_bytes}


@dataclass(frozen=True)
class RunArtifacts:
    """The artifacts of one run at the queue; every method may be repeated, and used by several threads.

    What each method raises: `ArtifactLost` and `ClaimLost`, see `Judgement`; the latter ends the work on the run.
    """

    taskcluster: Taskcluster
    transfers: Transfers
    claim: Claim
    judgement: Judgement
    _older: threading.Event = field(default_factory=threading.Event, repr=False)

    def put(self, description: Description, body: Body) -> Digest:
        """Uploads `body` as an s3 artifact; a new URL whenever storage does not take the old one any more."""
        refuse_unbearable(description.name, description.content_type)
        headers = {"Content-Type": description.content_type, "Content-Encoding": description.content_encoding}
        url = ""

        def attempt() -> Digest:
            nonlocal url
            if url:
                self.claim.credentials()  # a lost claim ends the repeats
            url = url or _put_url(self.create_once(description.name, description.properties("s3")))
            try:
                return self.transfers.put(url, headers, body)
            except (UrlExpired, UrlUseless):
                url = ""
                raise

        return self.judgement.of(attempt)

    def error(self, name: str, reason: str, message: str, expires: str) -> None:
        """An artifact that says why there is none."""
        properties = {"reason": reason, "message": _bearable(message), "expires": expires}
        self._create(name, {"storageType": "error", **properties})

    def link(self, name: str, target: str, content_type: str, expires: str) -> None:
        """An artifact that stands for another one of the run."""
        properties = {"artifact": target, "contentType": content_type, "expires": expires}
        self._create(name, {"storageType": "link", **properties})

    def _create(self, name: str, properties: Mapping[str, Any]) -> None:
        refuse_unbearable(name)
        self.judgement.of(lambda: self.create_once(name, properties))

    def create_once(self, name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        """One createArtifact with the newest credentials, in words that the queue knows; raises what
        `Taskcluster.call` does."""
        known = without_news(properties)
        if known == properties or self._older.is_set():
            return self.queue("POST", name, known)
        try:
            return self.queue("POST", name, properties)
        except Refused as error:
            if error.code != UNKNOWN_FORM:
                raise
        answer = self.queue("POST", name, known)
        self._older.set()
        return answer

    def queue(self, method: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One call about the artifact `name`; raises what `Taskcluster.call` does."""
        run = self.claim.run
        path = f"task/{run.task_id}/runs/{run.run_id}/artifacts/{segment(name)}"
        return self.taskcluster.call(method, "queue", path, self.claim.credentials(), body, give_up_after_s=0)


def refuse_unbearable(name: str, content_type: str = "application/octet-stream") -> None:
    """Stops what would hurt the queue: one such name makes it unable to list the run's artifacts ever again.

    Raises:
        ArtifactLost: with the reason; the run has failed.
    """
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise ArtifactLost(
            failed(f"artifact name {name[:80]!r}: must be 1 to 1024 printable ASCII characters, no dots only")
        )
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise ArtifactLost(failed(f"artifact {name!r}: contentType must be 1 to 255 printable ASCII characters"))


def _bearable(message: str) -> str:
    """`message` as PostgreSQL can store it, behind the queue: file names may have bytes that are no text."""
    return message.encode(errors="replace").decode().replace("\0", "?")[:MAX_MESSAGE_CHARACTERS]


def _put_url(answer: Mapping[str, Any]) -> str:
    url = answer.get("putUrl")
    if not isinstance(url, str):
        raise StorageRefused("the queue's answer to createArtifact has no putUrl")
    return url
