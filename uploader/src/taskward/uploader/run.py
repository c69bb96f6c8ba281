"""Everything that belongs to the upload of one run, in one hand."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from taskward.core.ids import RunId
from taskward.core.log import for_run
from taskward.core.metrics import Metrics
from taskward.core.outcome import Outcome, exception
from taskward.core.record import Records
from taskward.uploader.artifact import Description, RunArtifacts
from taskward.uploader.claim import Claim, ClaimedBody
from taskward.uploader.content import FOR_OBJECT_SERVICE, FOR_SIGNER, UNHASHED, Body
from taskward.uploader.errors import ArtifactLost
from taskward.uploader.gzipped import SpooledBody
from taskward.uploader.manifest import OWN, Manifest, Sent, Storage
from taskward.uploader.notes import Notes
from taskward.uploader.objects import ObjectUpload

_logger = logging.getLogger(__name__)
_QUEUE_SAYS_NO: Final = frozenset({"failed", "malformed-payload"})


@dataclass(frozen=True)
class RunUpload:
    """The run's claim, manifest, notes and artifacts; safe to share between threads.

    Attributes:
        storage: ``s3`` or ``object``, where content goes.
        spool_dir: where large gzip results wait; None: the system's place for temporary files.
        signed: whether the signer is to be told the hashes.
    """

    run: RunId
    records: Records
    claim: Claim
    manifest: Manifest
    notes: Notes
    artifacts: RunArtifacts
    storage: str
    spool_dir: Path | None
    metrics: Metrics
    signed: bool

    @property
    def to_object_service(self) -> bool:
        """Whether content goes to the object service: as it is, with both hashes."""
        return self.storage == "object"

    @property
    def hashes(self) -> tuple[str, ...]:
        """Names of those that somebody asks for later."""
        if self.to_object_service:
            return FOR_OBJECT_SERVICE
        return FOR_SIGNER if self.signed else UNHASHED

    def content(self, description: Description, make_body: Callable[[], Body], number: int = OWN) -> Sent:
        """Sends one artifact with content; what came of it is for the manifest.

        Raises:
            ArtifactLost, ClaimLost: see `RunArtifacts`.
        """
        try:
            body = ClaimedBody(make_body(), self.claim)
        except OSError as error:
            why = f"cannot be made ready to be sent: {error.strerror or error}"
            raise ArtifactLost(exception("resource-unavailable", why)) from error
        target = ObjectUpload(self.artifacts, self.manifest, number) if self.to_object_service else self.artifacts
        try:
            digest = target.put(description, body)
        finally:
            body.close()
        self.metrics.add("files_total")
        self.metrics.add("bytes_total", digest.size_bytes)
        storage = cast(Storage, self.storage)
        return Sent(storage, number, digest.hashes.get("sha256", ""), digest.size_bytes)

    def text(self, name: str, content_type: str, expires: str, pieces: Iterable[bytes]) -> None:
        """Sends what the uploader makes itself (a log, a document), compressed, and notes it in the manifest; raises
        like `content`."""
        description = Description(name, content_type, expires, content_encoding="gzip")

        def make() -> Body:
            return SpooledBody(pieces, self.spool_dir, self.hashes, gzip=not self.to_object_service)

        self.manifest.record(name, self.content(description, make))

    def lost(self, name: str, loss: ArtifactLost, optional: bool = False) -> None:
        """An artifact could not be uploaded: run and log say so, unless it was optional or the queue is done."""
        self.metrics.add("lost_total")
        message = f"Error uploading artifact: {name[:200]}: {loss}"
        if optional or (loss.outcome.reason in _QUEUE_SAYS_NO and self.claim.is_decided()):
            for_run(_logger, self.run).warning(message)
            return
        self.worsen(Outcome(loss.outcome.state, loss.outcome.reason, message))
        self.notes.error(message)

    def worsen(self, outcome: Outcome) -> None:
        """Makes `outcome` the run's, unless it went wrong before."""
        self.records.worsen(self.run, outcome)

    def has_failed(self) -> bool:
        """Whether something has gone wrong already, which the log tells."""
        record = self.records.read(self.run)
        return record is not None and record.outcome is not None and not record.outcome.succeeded
