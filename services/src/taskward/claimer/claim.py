"""Asks the queue for work and turns each claim into a run record."""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from taskward.claimer.access import stored
from taskward.claimer.answers import Claim, Misfit, read
from taskward.claimer.slots import Slots
from taskward.core.errors import Refused, TaskclusterError, Unreachable
from taskward.core.http1 import Line
from taskward.core.ids import RunId
from taskward.core.metrics import Metrics
from taskward.core.record import Records
from taskward.core.settings import WorkerSettings
from taskward.core.taskcluster import Credentials, Taskcluster, segment

POLL_S: Final = 60.0
IDLE_S: Final = 0.25
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_REFUSED_PAUSE_S: Final = 30.0
_SHORTEST_POLL_S: Final = 1.0
_LOOK_S: Final = 0.5
_ROLE: Final = "assume:"
_EXPAND_TIMEOUT_S: Final = 10.0
_REPORT_TIMEOUT_S: Final = 10.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claims:
    """claimWork for one task queue (taskcluster-services.md, "claimWork")."""

    taskcluster: Taskcluster
    credentials: Credentials
    worker: WorkerSettings
    records: Records
    metrics: Metrics = field(default_factory=partial(Metrics, "claimer"))
    _line: Line = field(default_factory=Line)
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Held from the look at free slots until what was claimed is recorded."""

    def ask(self, count: int) -> int:
        """Waits up to about 20 s, or until `hang_up`, for at most `count` runs; returns how many were taken.

        Claims that cannot be used are given up after the others were taken.

        Raises:
            Unreachable, Refused: nothing was claimed, as far as we know.
        """
        path = f"claim-work/{segment(self.worker.task_queue_id)}"
        body = {"tasks": count, "workerGroup": self.worker.worker_group, "workerId": self.worker.worker_id}
        try:
            answer = self.taskcluster.call(
                "POST", "queue", path, self.credentials, body, timeout_s=POLL_S, give_up_after_s=0, line=self._line
            )
        except Unreachable:
            if self._line.was_hung_up:
                return 0
            raise
        offers = [read(entry) for entry in self._entries(answer)]
        claims = [offer for offer in offers if isinstance(offer, Claim)]
        for claim in claims:
            self.take(claim)
            self.metrics.count("claims_total")
        for misfit in offers:
            if isinstance(misfit, Misfit):
                self._give_up(misfit)
        return len(claims)

    def _entries(self, answer: Mapping[str, Any]) -> list[object]:
        tasks = answer.get("tasks")
        if isinstance(tasks, list):
            return tasks
        self.metrics.count("claim_errors_total", label="unreachable")
        text = "the answer is no list of claims: is [taskcluster] root_url right?"
        _logger.error(text, extra={"tasks": type(tasks).__name__})
        return []

    def _give_up(self, misfit: Misfit) -> None:
        """So that the queue need not wait until the claim ends; best effort, but never for a run that is in hand."""
        run, reason = misfit.run, ""
        if run and misfit.credentials and self.records.read(run) is None:
            path = f"task/{run.task_id}/runs/{run.run_id}/exception"
            try:
                self.taskcluster.call(
                    "POST", "queue", path, misfit.credentials, {"reason": misfit.reason},
                    timeout_s=_REPORT_TIMEOUT_S, give_up_after_s=0,
                )  # fmt: skip
                reason = misfit.reason
            except TaskclusterError as error:
                _logger.warning("an unusable claim was not given up", extra={"run": run.key, "error": str(error)})
        details = {"taskId": misfit.task_id, "runId": run and run.run_id, "error": misfit.fault, "reported": reason}
        _logger.error("the queue sent a claim that cannot be used", extra=details)

    def hang_up(self) -> None:
        """Nobody waits for work any more; the queue loses nothing by that (taskcluster-services.md, "claimWork")."""
        self._line.hang_up()

    def take(self, claim: Claim) -> None:
        """One claim becomes a record and a job, in one step; a claim that is known already changes nothing."""
        run, until = claim.run, claim.taken_until
        access = stored(run, claim.credentials, until, claim.scopes)
        expanded = self._expanded(run, claim.scopes)
        self.records.claim(run, claim.definition, until, claim.worker_group, claim.worker_id, access, expanded)
        _logger.info("claimed", extra={"taskId": run.task_id, "runId": run.run_id})

    def _expanded(self, run: RunId, scopes: list[str]) -> list[str]:
        """`scopes` with what their roles stand for; without the answer, the task only has them as they are written."""
        if not any(map(_may_be_role, scopes)):
            return []
        try:
            answer = self.taskcluster.call(
                "POST", "auth", "scopes/expand", self.credentials, {"scopes": scopes},
                timeout_s=_EXPAND_TIMEOUT_S, give_up_after_s=_EXPAND_TIMEOUT_S,
            )  # fmt: skip
            return [str(scope) for scope in answer["scopes"]]
        except (Unreachable, Refused, LookupError, TypeError) as error:
            text = "roles in task.scopes are not expanded; the worker's client needs the scope auth:expand-scopes"
            _logger.warning(text, extra={"taskId": run.task_id, "runId": run.run_id, "error": str(error)})
            return []


def _may_be_role(scope: str) -> bool:
    """``assume:…``, or what stands for such scopes, too; ``*`` alone stands for everything without expansion."""
    return scope.startswith(_ROLE) or (scope.endswith("*") and scope != "*" and _ROLE.startswith(scope[:-1]))


def leave_when_draining(claims: Claims, slots: Slots, stop: threading.Event) -> None:
    """Until `stop`: a request that waits for work is ended when nothing more shall be claimed, and that is told."""
    told = False
    while not stop.wait(_LOOK_S):
        if (draining := slots.draining()) != told:
            _logger.info("drained: nothing is claimed until `taskward drain --undo`" if draining else "claiming again")
            claims.metrics.set("draining", int(draining))
            claims.metrics.write()
            told = draining
        if draining:
            claims.hang_up()
            if claims.turn.acquire(timeout=_LOOK_S):  # whoever takes it next sees that the worker is drained
                claims.turn.release()
                slots.hear_of_draining()


def claim_for_ever(claims: Claims, free: Callable[[], int], stop: threading.Event, wake: threading.Event) -> None:
    """Keeps the free slots filled until `stop`; `wake` tells that a slot may have become free."""
    pause_s = _FIRST_PAUSE_S
    while not stop.is_set():
        try:
            begun_s = time.monotonic()
            with claims.turn:
                count = free()
                taken = claims.ask(count) if count else 0
            if not count:
                wake.wait(IDLE_S)
                wake.clear()
                continue
            if not taken:  # a queue that does not wait for work must not be asked without a pause
                stop.wait(_SHORTEST_POLL_S - (time.monotonic() - begun_s))
            pause_s = _FIRST_PAUSE_S
        except Unreachable as error:
            claims.metrics.count("claim_errors_total", label="unreachable")
            _logger.warning("could not claim work", extra={"error": str(error)})
            stop.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        except Refused as error:
            claims.metrics.count("claim_errors_total", label="refused")
            _logger.error(
                "the queue refuses our claims: check the client's scopes and token, and this machine's clock",
                extra={"error": str(error)},
            )
            stop.wait(_REFUSED_PAUSE_S)
