"""Chain of trust: asks the signer, with the manifest in hand, and uploads what it signed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskward.core.outbox import Index
from taskward.core.outcome import exception
from taskward.signer.client import Document, RunCredentials, SignerClient, SignerRefused, UploadedArtifact
from taskward.uploader.errors import ArtifactLost
from taskward.uploader.gzipped import log_with_notes
from taskward.uploader.logs import CONTENT_TYPE
from taskward.uploader.manifest import OWN, STORED
from taskward.uploader.run import RunUpload

CERTIFIED_LOG: Final = "public/logs/certified.log"


@dataclass(frozen=True)
class Certification:
    """Of one run; every step may be repeated, with the same bytes each time."""

    upload: RunUpload
    index: Index
    signer: SignerClient

    def run(self) -> None:
        """Uploads the frozen log and the signed documents, or makes the run an exception.

        Raises:
            SignerUnavailable: repeat it later; the run must not end without.
            ClaimLost: the run is not ours any more.
        """
        try:
            self._freeze_log()
            for document in self._signed():
                self.upload.text(document.name, document.content_type, self.index.expires, [document.content])
        except SignerRefused as error:
            message = f"Chain of trust: the signer refused: {error}"
            self.upload.worsen(exception("internal-error", message))
            self.upload.notes.error(message)
        except ArtifactLost as loss:
            self.upload.lost("chain of trust", loss)

    def _freeze_log(self) -> None:
        """The log as it is now, which the signature covers; later lines are in the backing log only."""
        if not self.upload.manifest.has(CERTIFIED_LOG):
            pieces = log_with_notes(Path(self.index.log), self.upload.notes.read())
            self.upload.text(CERTIFIED_LOG, CONTENT_TYPE, self.index.expires, pieces)

    def _signed(self) -> tuple[Document, ...]:
        ours = self.upload.claim.credentials()
        credentials = RunCredentials(ours.client_id, ours.access_token, ours.certificate or None)
        run = self.upload.run
        return self.signer.certify(
            run.task_id, run.run_id, credentials, self._artifacts(), self.index.environment,
            on_omitted=lambda name, reason: self.upload.notes.error(f"Chain of trust: no {name}: {reason}"),
        )  # fmt: skip

    def _artifacts(self) -> list[UploadedArtifact]:
        """What the task left and the frozen log: the same at each repeat, since the signer signs a run once."""
        types = {entry.name: entry.content_type for entry in self.index.entries} | {CERTIFIED_LOG: CONTENT_TYPE}
        places = [*((number, entry.name) for number, entry in enumerate(self.index.entries)), (OWN, CERTIFIED_LOG)]
        return [
            UploadedArtifact(name, sent.sha256, sent.size_bytes, types[name] or None)
            for name, sent in sorted(self.upload.manifest.done(places).items())
            if sent.storage in STORED
        ]
