"""Tells the queue how a run ended, once, after everything of it is uploaded; publishes the live log before that."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

from taskward.claimer.keep import GONE, NOT_ADMITTED
from taskward.core.clock import Clock, utc_now
from taskward.core.credentials import claim_credentials
from taskward.core.errors import Conflict, PhaseConflict, Refused, Unreachable
from taskward.core.ids import RunId
from taskward.core.metrics import Metrics
from taskward.core.outcome import Outcome, decided_by_queue, exception
from taskward.core.process import is_alive, this_life
from taskward.core.record import Record, Records, Reference
from taskward.core.taskcluster import Taskcluster, segment

_WHEN_REFUSED: Final = {"superseded": "resource-unavailable"}
"""What is reported to a queue that does not know a reason (any more): another one that makes no new run."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resolver:
    """Both acts may be repeated: the queue answers 200 to the same report, and to the same artifact."""

    taskcluster: Taskcluster
    records: Records
    proofs: Path
    """Where owners of runs in other containers prove that they live."""
    metrics: Metrics = field(default_factory=partial(Metrics, "claimer"))
    before_return: Callable[[], None] = lambda: None
    """Called before a run goes back to the queue, which may give the next one to whoever waits for work."""
    clock: Clock = utc_now

    def attend(self, run: RunId) -> bool:
        """Does what the record asks the claimer for; True when the run is over now, reported or not.

        Raises:
            Unreachable: nobody could be told, or the queue would not hear us (401, 403) though the claim still holds:
                try again later, with the credentials that the claim has then.
        """
        record = self.records.read(run)
        if record is None:
            return False
        if record.phase in ("uploaded", "resolving"):
            return self._resolve(record)
        for reference in record.references:
            self._announce(run, reference)
        return False

    def _resolve(self, record: Record) -> bool:
        run, me = record.run, this_life()
        if record.owner and record.owner != me and is_alive(record.owner, self.proofs):
            return False
        try:
            self.records.move(run, ("uploading", "uploaded", "resolving"), "resolving", me, replace=record.owner)
        except PhaseConflict:
            return False
        outcome = self._reported(record)
        self.records.resolved(run)
        self.metrics.count("resolved_total", label=outcome.label)
        word = "over without a report" if outcome.unreported else "resolved"
        _logger.info(word, extra={"run": run.key, "state": outcome.state, "reason": outcome.reason})
        return True

    def _reported(self, record: Record) -> Outcome:
        """What became of the run: our word, or the queue's, if that came first."""
        if record.abort in GONE:
            return decided_by_queue(record.abort)
        outcome = record.outcome or exception("internal-error", "the run ended without an outcome")
        if outcome.reason == "worker-shutdown":
            self.before_return()
        return outcome if outcome.unreported else self._report(record.run, outcome)

    def _report(self, run: RunId, outcome: Outcome) -> Outcome:
        """`outcome`, or what stands in its place when the queue does not take it."""
        path = f"task/{run.task_id}/runs/{run.run_id}/{outcome.state}"
        body = {"reason": outcome.reason} if outcome.state == "exception" else None
        try:
            self._post(run, path, body)
        except Conflict as error:
            _logger.warning("the queue had resolved the run already", extra={"run": run.key, "error": str(error)})
            return decided_by_queue("resolved by others")
        except Refused as error:
            if error.status in NOT_ADMITTED and self._is_claimed(run):
                raise Unreachable(str(error)) from error
            _logger.error("the queue did not take our report", extra={"run": run.key, "error": str(error)})
            return Outcome("exception", "report refused", str(error), unreported=True)
        return outcome

    def _is_claimed(self, run: RunId) -> bool:
        """Whether the claim holds; read anew, since it may have been renewed while we reported."""
        record = self.records.read(run)
        return record is not None and self.clock() < record.taken_until

    def _post(self, run: RunId, path: str, body: dict[str, str] | None) -> None:
        try:
            self.taskcluster.call("POST", "queue", path, claim_credentials(self.records, run), body)
        except Refused as error:
            instead = _WHEN_REFUSED.get(body["reason"]) if body and error.status == HTTPStatus.BAD_REQUEST else None
            if instead is None:
                raise
            self.taskcluster.call("POST", "queue", path, claim_credentials(self.records, run), {"reason": instead})

    def _announce(self, run: RunId, reference: Reference) -> None:
        """An artifact that leads to the gateway, as the live log; best effort."""
        body = {
            "storageType": "reference",
            "contentType": reference.content_type,
            "url": reference.url,
            "expires": reference.expires,
        }
        path = f"task/{run.task_id}/runs/{run.run_id}/artifacts/{segment(reference.name)}"
        try:
            self.taskcluster.call("POST", "queue", path, claim_credentials(self.records, run), body)
        except (Refused, PhaseConflict) as error:
            _logger.warning("not published", extra={"run": run.key, "artifact": reference.name, "error": str(error)})
