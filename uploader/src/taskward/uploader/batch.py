"""One batch of a run's outbox: every entry that is not yet done with, several at a time."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskward.core.log import for_run
from taskward.core.outbox import Entry
from taskward.core.outcome import failed
from taskward.uploader.artifact import Description
from taskward.uploader.content import Body, FileBody, lost
from taskward.uploader.errors import ArtifactLost, ClaimLost
from taskward.uploader.gzipped import SpooledBody, collected
from taskward.uploader.manifest import Sent
from taskward.uploader.run import RunUpload

_PIECES_BETWEEN_LOOKS: Final = 64  # of 1 MiB

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Entries of one outbox to be sent by this process."""

    upload: RunUpload
    outbox: Path
    entries: Iterable[tuple[int, Entry]]

    def send(self, threads: ThreadPoolExecutor) -> None:
        """Sends what the manifest does not know yet.

        Failures of artifacts end up in the run's outcome and notes; the others are sent all the same.

        Raises:
            ClaimLost: the run is not ours any more; the rest was left.
        """
        done = self.upload.manifest.read()
        over = threading.Event()
        rest = [(n, entry) for n, entry in self.entries if entry.name not in done or done[entry.name].entry != n]
        began = time.monotonic()
        futures = [threads.submit(self._one, n, entry, over) for n, entry in rest]
        wait(futures)  # all of them, before an error lets the message be delivered again
        counts = Counter(future.result() for future in futures)
        size, took_s = sum(entry.size_bytes for _, entry in rest), round(time.monotonic() - began, 3)
        for_run(_logger, self.upload.run).info("batch sent", extra={**counts, "size_bytes": size, "took_s": took_s})
        if over.is_set():
            raise ClaimLost(f"run {self.upload.run}: the claim was lost during the upload")

    def _one(self, number: int, entry: Entry, over: threading.Event) -> str:
        """What became of it, for the count."""
        if over.is_set():
            return "skipped"
        try:
            sent = self._send(number, entry)
        except ClaimLost:
            over.set()
            return "skipped"
        except ArtifactLost as loss:
            sent = Sent("none", number, entry.content_type)
            self.upload.lost(entry.name, loss, optional=entry.optional)
        self.upload.manifest.record(entry.name, sent)
        return sent.storage

    def _send(self, number: int, entry: Entry) -> Sent:
        if entry.reason:
            return self._error(number, entry)
        if Path(entry.file).name != entry.file or entry.file.startswith("."):
            raise lost(Path(entry.file), "not a name in the outbox")
        return self.upload.content(_description(entry), lambda: self._body(entry), number)

    def _error(self, number: int, entry: Entry) -> Sent:
        self.upload.artifacts.error(entry.name, entry.reason, entry.message, entry.expires)
        if not entry.optional and not self.upload.has_failed():
            outcome = failed(f"{entry.reason}: {entry.message}")
            self.upload.notes.error(f"TASK FAILURE during artifact upload: {outcome.message}")
            self.upload.worsen(outcome)
        return Sent("error", number)

    def _body(self, entry: Entry) -> Body:
        path, objects = self.outbox / entry.file, self.upload.to_object_service
        if entry.content_encoding == "identity" or objects:
            return FileBody(path, entry.size_bytes, both_hashes=objects)
        return SpooledBody(self._while_wanted(collected(path, entry.size_bytes)), self.upload.spool_dir)

    def _while_wanted(self, pieces: Iterator[memoryview]) -> Iterator[memoryview]:
        """To compress a large file takes minutes in which the run may be canceled; others wait for this process.

        Raises:
            ClaimLost: the claim is over.
            ArtifactLost: the queue has resolved the run.
        """
        for number, piece in enumerate(pieces, 1):
            if number % _PIECES_BETWEEN_LOOKS == 0:
                self.upload.claim.credentials()
                if self.upload.claim.is_decided():
                    raise ArtifactLost(failed("the queue resolved the run while the file was being compressed"))
            yield piece


def _description(entry: Entry) -> Description:
    return Description(entry.name, entry.content_type, entry.expires, entry.size_bytes, entry.content_encoding)
