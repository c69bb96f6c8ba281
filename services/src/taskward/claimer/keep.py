"""Keeps claims alive, and notices when a run is no longer ours.

A claim is renewed well before it ends; between renewals the queue is asked for the run's status, so that a cancelled
run is stopped within one poll and not at the next renewal.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from taskward.claimer.access import stored
from taskward.claimer.answers import Renewal, runs
from taskward.core.clock import Clock, format_time, parse_time
from taskward.core.credentials import claim_credentials
from taskward.core.errors import Conflict, PhaseConflict, Refused, TaskclusterError, Unreachable
from taskward.core.ids import RunId
from taskward.core.metrics import Metrics
from taskward.core.record import Record, Records
from taskward.core.settings import ClaimerSettings
from taskward.core.taskcluster import Credentials, Taskcluster

GONE: Final = frozenset({"canceled", "deadline-exceeded", "claim-expired"})
NOT_ADMITTED: Final = frozenset({401, 403})
"""Refusals that say nothing about the run: a clock that was set, a service with old keys; they may pass."""
_OURS: Final = frozenset({"pending", "running"})
_RESOLVED_BY_US: Final = frozenset({"resolving", "resolved"})
_AGAIN_S: Final = 2.0
_LONGEST_PAUSE: Final = timedelta(minutes=15)
"""Of Taskcluster's usual 20 minutes: `takenUntil` is by its clock, and it bears ours although it is 15 minutes slow."""
TICK_S: Final = 0.5
THREADS: Final = 8
_CALL_S: Final = 20.0
_Runs = Sequence[Mapping[str, Any]]

_logger = logging.getLogger(__name__)


@dataclass
class Keeper:
    """Looks after all active runs; `look` is called twice a second and is cheap when nothing is due.

    What is due goes by `elapsed_s`, seconds that no setting of the clock changes.
    """

    taskcluster: Taskcluster
    worker: Credentials
    records: Records
    settings: ClaimerSettings
    clock: Clock
    metrics: Metrics = field(default_factory=partial(Metrics, "claimer"))
    elapsed_s: Callable[[], float] = time.monotonic
    _count: int = 0
    _renew_at: dict[RunId, float] = field(default_factory=dict)
    _ask_at: dict[RunId, float] = field(default_factory=dict)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS, thread_name_prefix="keep"))

    def look(self) -> None:
        """Renews and asks where it is time to."""
        active = self.records.active()
        self._show(len(active))
        for forgotten in (self._renew_at.keys() | self._ask_at.keys()) - active:
            self._renew_at.pop(forgotten, None)
            self._ask_at.pop(forgotten, None)
        records = (self.records.read(run) for run in active)
        ours = [record for record in records if record is not None and record.abort not in GONE]
        for _ in self._pool.map(self._look_after, ours):
            pass

    def _show(self, count: int) -> None:
        if count != self._count:
            self._count = count
            self.metrics.set("runs", count)
            self.metrics.write()

    def _look_after(self, record: Record) -> None:
        try:
            self._do_what_is_due(record)
        except PhaseConflict:
            _logger.info("resolved meanwhile", extra={"run": record.run.key})

    def _do_what_is_due(self, record: Record) -> None:
        now = self.elapsed_s()
        if now >= self._renew_at.setdefault(record.run, now + self._half_way_s(record)):
            self._renew(record)
        elif now >= self._ask_at.setdefault(record.run, now + self.settings.status_poll_s):
            self._ask_at[record.run] = now + self.settings.status_poll_s
            self._notice(record.run, self._status(record.run))

    def _half_way_s(self, record: Record) -> float:
        """From now to `renew_before_s` before the claim ends; of a short claim, to half of what is left."""
        left = record.taken_until - self.clock()
        before = min(timedelta(seconds=self.settings.renew_before_s), left / 2)
        return min(max(timedelta(), left - before), _LONGEST_PAUSE).total_seconds()

    def _renew(self, record: Record) -> None:
        run = record.run
        try:
            answer = self.taskcluster.call(
                "POST", "queue", f"task/{run.task_id}/runs/{run.run_id}/reclaim",
                claim_credentials(self.records, run), give_up_after_s=0, timeout_s=_CALL_S,
            )  # fmt: skip
            renewal = Renewal.parse(answer)
        except (Unreachable, ValueError) as error:
            self.metrics.count("renewals_total", label="unreachable")
            _logger.warning("could not renew a claim", extra={"run": run.key, "error": str(error)})
            self._renew_at[run] = self.elapsed_s() + _AGAIN_S
            return
        except Refused as error:
            self.metrics.count("renewals_total", label="refused")
            _logger.warning("a claim was not renewed", extra={"run": run.key, "error": str(error)})
            self._refused(record, error)
            return
        until = renewal.taken_until
        access = stored(run, renewal.credentials, until, record.definition.get("scopes", []))
        self.records.renew(run, until, access)
        self._renew_at.pop(run, None)
        self.metrics.count("renewals_total", label="renewed")
        _logger.info("renewed", extra={"run": run.key, "takenUntil": format_time(until)})

    def _refused(self, record: Record, error: Refused) -> None:
        """The status says why the queue will not renew, and so may the refusal (`_is_final`); else it may pass."""
        run, now = record.run, self.clock()
        status = self._status(run)
        if self._notice(run, status):
            return
        if now >= record.taken_until or _is_final(error, status):
            self._lost(run, _likely(record, now, otherwise="canceled" if status is None else "claim-expired"))
        else:
            self._renew_at[run] = self.elapsed_s() + _AGAIN_S

    def _status(self, run: RunId) -> _Runs | None:
        """The queue's word on the task's runs, or None when it cannot be had now."""
        try:
            path = f"task/{run.task_id}/status"
            return runs(self.taskcluster.call("GET", "queue", path, self.worker, give_up_after_s=0, timeout_s=_CALL_S))
        except (TaskclusterError, ValueError) as error:
            _logger.warning("no status", extra={"run": run.key, "error": str(error)})
            return None

    def _notice(self, run: RunId, status: _Runs | None) -> bool:
        """Stops a run that the queue has taken from us; True when it has.

        Whatever else resolved it (the queue itself does when the worker was removed at worker-manager), unless it was
        our own report: the run may go on elsewhere.
        """
        if status is None:
            return False
        ours = status[run.run_id] if run.run_id < len(status) else {"state": "exception", "reasonResolved": "canceled"}
        if ours["state"] in _OURS:
            return False
        reason = str(ours.get("reasonResolved", ""))
        if reason not in GONE:
            record = self.records.read(run)
            if record is None or record.phase in _RESOLVED_BY_US:
                return True
            reason = "claim-expired"
        self._lost(run, reason)
        return True

    def _lost(self, run: RunId, reason: str) -> None:
        _logger.warning("the run is no longer ours", extra={"run": run.key, "reason": reason})
        self.records.abort(run, reason)
        self.metrics.count("lost_total")


def _is_final(error: Refused, status: _Runs | None) -> bool:
    """A 409 is, as its documentation says; 401 and 403 are not while the claim holds; of the others, without a status
    (the worker may lack ``queue:status:…``), nobody knows."""
    return isinstance(error, Conflict) or (status is not None and error.status not in NOT_ADMITTED)


def _likely(record: Record, now: datetime, otherwise: str) -> str:
    """Why the queue resolves a run, most likely: past the deadline it does so a minute later, and renews nothing."""
    deadline = record.definition.get("deadline")
    if isinstance(deadline, str) and parse_time(deadline) <= now:
        return "deadline-exceeded"
    return "claim-expired" if record.taken_until <= now else otherwise


def keep_for_ever(keeper: Keeper, stop: threading.Event) -> None:
    """Looks twice a second until `stop`."""
    while not stop.wait(TICK_S):
        keeper.look()
