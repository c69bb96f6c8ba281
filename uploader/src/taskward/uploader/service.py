"""What one uploader process does with the messages of its queue."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

from redis import Redis

from taskward.core.connection import connect
from taskward.core.ids import RunId
from taskward.core.layout import Layout
from taskward.core.log import for_run
from taskward.core.metrics import Metrics
from taskward.core.outbox import Entry, Index, read_early
from taskward.core.outcome import decided_by_queue, exception
from taskward.core.record import ACTIVE_BEFORE_UPLOAD, Record, Records
from taskward.core.settings import Settings, UploaderSettings
from taskward.core.taskcluster import Taskcluster
from taskward.signer.client import SignerClient, SignerUnavailable, TlsAddress
from taskward.uploader.artifact import RunArtifacts
from taskward.uploader.batch import Batch
from taskward.uploader.certify import Certification
from taskward.uploader.claim import DECIDED, Claim
from taskward.uploader.errors import ClaimLost, Denied
from taskward.uploader.judgement import Judgement
from taskward.uploader.logs import close_log
from taskward.uploader.manifest import Manifest
from taskward.uploader.notes import Notes
from taskward.uploader.patience import Patience
from taskward.uploader.run import RunUpload
from taskward.uploader.transfer import Transfers
from taskward.uploader.turn import Turn, Turns

_SIGNER_PAUSE_S: Final = 1.0
_DENIED_S: Final = 10.0
_TURN_S: Final = 2.0
_MOST_BEGUN: Final = 100
_logger = logging.getLogger(__name__)


@dataclass
class Service:
    """The three functions of the queue `upload`; each may be called again after it was cut off anywhere."""

    redis: Redis
    taskcluster: Taskcluster
    transfers: Transfers
    signer: SignerClient
    layout: Layout
    settings: UploaderSettings
    signer_pause_s: float = _SIGNER_PAUSE_S
    turn_s: float = _TURN_S
    metrics: Metrics = field(default_factory=partial(Metrics, "uploader"))
    threads: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.records = Records(self.redis)
        self.threads = ThreadPoolExecutor(self.settings.concurrency, "upload")
        self.turns = Turns(self.redis, self.turn_s)
        self._begun: dict[RunId, RunUpload] = {}

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """A service as the configuration says; nothing is connected yet."""
        deployment = settings.taskcluster
        ca_file = str(deployment.ca_file) if deployment.ca_file else None
        taskcluster = Taskcluster(deployment.root_url, timeout_s=deployment.timeout_s, ca_file=ca_file)
        return cls(
            redis=connect(settings.redis("uploader")),
            taskcluster=taskcluster,
            transfers=Transfers(ca_file),
            signer=SignerClient(_signer(settings)),
            layout=settings.layout,
            settings=settings.uploader,
            metrics=Metrics.of_process("uploader", settings.layout.state_dir),
        )

    def close(self) -> None:
        """Ends threads and connections; nothing may be under way."""
        self.threads.shutdown()
        self.transfers.close()
        self.redis.close()

    def upload(self, task_id: str, run_id: int, batch: int) -> bool:
        """Sends one batch of a run's outbox; False when it gave way to other runs: repeat it after them."""
        run = RunId(task_id, run_id)
        if not self.records.batch_is_pending(run, batch):
            return True
        turn = self.turns.next(run)
        try:
            if turn is None or not self._send(run, batch, turn):
                return False
        except ClaimLost as error:
            for_run(_logger, run).warning(str(error))
        self.records.batch_done(run, batch)
        self._begun.pop(run, None)
        return True

    def _send(self, run: RunId, batch: int, turn: Turn) -> bool:
        index = self._index(run)
        if index is None:
            return True
        entries = [(number, index.entries[number]) for number in index.batches[batch]]
        with self._counted():
            return self._batch(run, index.signed, entries).send(self.threads, self.settings.concurrency, turn.is_over)

    def _batch(self, run: RunId, signed: bool, entries: list[tuple[int, Entry]]) -> Batch:
        """Of a run that the queue has resolved itself nothing more is sent but its log. What was learnt in one turn of
        a run, as that storage is away, is known in the next."""
        if len(self._begun) >= _MOST_BEGUN:
            self._begun.clear()
        upload = self._begun.setdefault(run, self._of(run, signed, until_decided=True))
        return Batch(upload, self.layout.outbox(run), entries)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.metrics.set("busy", 1)
        self.metrics.write()
        began = time.monotonic()
        try:
            yield
            self.metrics.add("batches_total")
        finally:
            self.metrics.add("seconds_total", time.monotonic() - began)
            self.metrics.set("busy", 0)
            self.metrics.write()

    def publish(self, task_id: str, run_id: int) -> None:
        """Sends the artifact that a run wants to have published while it goes on; later it is sent with the others."""
        run = RunId(task_id, run_id)
        record, entry = self.records.read(run), read_early(self.layout.outbox(run))
        if record is None or record.phase not in ACTIVE_BEFORE_UPLOAD or entry is None:
            return
        try:
            upload = self._of(run, signed=True, until_decided=True)
            Batch(upload, self.layout.outbox(run), [(0, entry)]).send(self.threads, 1)
        except ClaimLost as error:
            for_run(_logger, run).warning(str(error))

    def finish(self, task_id: str, run_id: int) -> bool:
        """Certifies, closes the log, hands the run to the claimer; False when the signer is away: repeat it later."""
        run = RunId(task_id, run_id)
        record = self.records.read(run)
        if record is None or record.phase != "finishing":
            return True
        try:
            self._finish(record)
        except ClaimLost as error:
            for_run(_logger, run).warning(str(error))
        except SignerUnavailable as error:
            self.metrics.count("signer_waits_total")
            for_run(_logger, run).warning(f"the signer is away, trying again: {error}")
            time.sleep(self.signer_pause_s)
            return False
        self.metrics.write()
        self.records.uploaded(run)
        return True

    def _finish(self, record: Record) -> None:
        index = self._index(record.run)
        if index is None:
            return
        upload = self._of(record.run, index.signed)
        if record.abort in DECIDED and not (record.outcome and record.outcome.unreported):
            upload.notes.error(decided_by_queue(record.abort).message)  # the executor did not know it yet
        if index.signed and _deserves_signature(record):
            Certification(upload, index, self.signer).run()
        close_log(upload, index)

    def _index(self, run: RunId) -> Index | None:
        """The index; without one nothing can be uploaded, and the run cannot have succeeded."""
        try:
            return Index.read(self.layout.outbox(run))
        except FileNotFoundError:
            message = "the worker lost the list of artifacts: nothing was uploaded"
            self.records.worsen(run, exception("internal-error", message))
            Notes(self.redis, run).error(message)
            return None

    def _of(self, run: RunId, signed: bool, until_decided: bool = False) -> RunUpload:
        claim = Claim(self.redis, run, until_decided)
        return RunUpload(
            run=run,
            records=self.records,
            claim=claim,
            manifest=Manifest(self.redis, run),
            notes=Notes(self.redis, run),
            artifacts=RunArtifacts(self.taskcluster, self.transfers, claim, self._judgement(claim)),
            storage=self.settings.storage,
            spool_dir=self.settings.spool_dir,
            metrics=self.metrics,
            signed=signed,
        )

    def _judgement(self, claim: Claim) -> Judgement:
        def repeats() -> None:
            self.metrics.add("retries_total")

        limit_s = self.settings.give_up_after_s
        denials = Patience(min(limit_s, _DENIED_S), repeats, Denied, claim.wait)
        return Judgement(claim, Patience(limit_s, repeats, wait=claim.wait), denials)


def _deserves_signature(record: Record) -> bool:
    """Only what completed or failed: an exception is no evidence of anything, nor is a run that the queue has ended."""
    return record.abort not in DECIDED and (record.outcome is None or record.outcome.state != "exception")


def _signer(settings: Settings) -> Path | TlsAddress:
    """Where the signer is: on this host, unless the configuration names another."""
    told = settings.uploader
    if not (told.signer_url and told.signer_ca_file and told.signer_certificate_file and told.signer_key_file):
        return settings.layout.signer_socket
    host, _, port = told.signer_url.removeprefix("https://").rstrip("/").rpartition(":")
    return TlsAddress(host, int(port), told.signer_ca_file, told.signer_certificate_file, told.signer_key_file)
