"""The one function of the queue ``execute``: a run, from claimed to uploading, whatever has happened to it before."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from redis import Redis

from taskward.core import log
from taskward.core.errors import PhaseConflict
from taskward.core.ids import RunId
from taskward.core.locks import held
from taskward.core.metrics import Metrics
from taskward.core.outcome import COMPLETED, exception
from taskward.core.poll import until
from taskward.core.process import is_alive, this_life
from taskward.core.record import ACTIVE_BEFORE_UPLOAD, Record, Records
from taskward.core.settings import Settings
from taskward.core.space import FULL_FOR_S, NO_SPACE, patiently
from taskward.executor.errors import OwnerAlive
from taskward.executor.kind import NATIVE, EngineFactory, Kind, kind_of
from taskward.executor.life import Life
from taskward.executor.report import tell_death
from taskward.executor.sweep import clear
from taskward.executor.task import Task
from taskward.executor.tasklog import TaskLog
from taskward.executor.watch import AbortReasons, Termination, Watch

_OWNER_DIES_WITHIN_S: Final = 1.0

_logger = logging.getLogger(__name__)


def _outlives(owner: str, proofs: Path, wait_s: float) -> bool:
    """Whether `owner` still lives after `wait_s`: a process that was killed may take a moment to go."""
    return not until(lambda: not is_alive(owner, proofs), wait_s, pause_s=0.01)


class Executor:
    """Carries runs out, one at a time; `engine` stands in for the one that a payload's kind has."""

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        abort_reasons: AbortReasons,
        engine: EngineFactory | None = None,
        metrics: Metrics | None = None,
        full_for_s: float = FULL_FOR_S,
    ) -> None:
        self._settings, self._redis, self._abort_reasons, self._engine = settings, redis, abort_reasons, engine
        self._metrics, self._full_for_s = metrics or Metrics("executor"), full_for_s
        self._records = Records(redis)

    def execute(self, task_id: str, run_id: int) -> None:
        """Takes the run as far as it can go here; of one that is further already, only what it left is removed.

        Raises:
            OwnerAlive: another process works on it; to be tried again.
        """
        run = RunId(task_id, run_id)
        record = self._records.read(run)
        if record is None or record.phase not in ACTIVE_BEFORE_UPLOAD:
            self._clean(run, kind_of(record.definition) if record else NATIVE)
            return
        if record.owner and _outlives(record.owner, self._settings.layout.proofs, _OWNER_DIES_WITHIN_S):
            raise OwnerAlive(f"run {run}: {record.owner} works on it")
        logger = log.for_run(_logger, run)
        try:
            with ExitStack() as stack:
                if task_log := self._log(record, stack, logger):
                    self._carry_out(record, task_log, logger)
        except PhaseConflict as conflict:
            logger.warning("somebody else has the run", extra={"found": conflict.found})
            return
        self._clean(run, kind_of(record.definition))

    def _log(self, record: Record, stack: ExitStack, logger: log.RunLogger) -> TaskLog | None:
        """The run's log, and proof of life for as long as `stack` lasts; None when the disk stays full: what the run
        had made is removed, and the queue shall run it again."""
        run, kind, layout = record.run, kind_of(record.definition), self._settings.layout
        try:
            stack.enter_context(held(layout.proofs, this_life()))
            return patiently(lambda: kind.log.open(layout.log_directory(run)), self._full_for_s)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            text = f"the worker has no room for the task's log: {error.strerror}"
            logger.error("run given back", extra={"reason": text})
            self._clean(run, kind)
            self._records.end(run, ACTIVE_BEFORE_UPLOAD, exception("intermittent-task", text))
            return None

    def _carry_out(self, record: Record, task_log: TaskLog, logger: log.RunLogger) -> None:
        run = record.run
        termination = Termination()
        kind = kind_of(record.definition)
        engine = (self._engine or kind.engine)(run, self._settings)
        task = Task(record, self._settings, self._redis, task_log, engine)
        watch = Watch(
            termination, lambda: self._abort_reasons.ask(run), task_log, self._settings.executor.max_log_bytes
        )
        life = Life(task, watch, kind)
        logger.info("run begins", extra={"phase": record.phase})
        with self._counted(task, life):
            if record.phase == "claimed":
                life.begin()
            else:
                self._take_over(life, task)
        logger.info("run handed over", extra={"outcome": task.outcome.reason if task.outcome else "completed"})
        life.retain()

    @contextmanager
    def _counted(self, task: Task, life: Life) -> Iterator[None]:
        """Counts a run that is handed over; whatever happens, the executor is busy no more."""
        self._metrics.set("busy", 1)
        self._metrics.count("adopted_total", int(task.record.phase != "claimed"))
        try:
            yield
            self._metrics.add("runs_total", label=(task.outcome or COMPLETED).label)
        finally:
            for phase, seconds in life.seconds.items():
                self._metrics.add("phase_seconds_total", seconds, phase)
            self._metrics.set("busy", 0)
            self._metrics.write()

    def _take_over(self, life: Life, task: Task) -> None:
        """A run whose process has died is not run again; what was collected still counts."""
        record = task.record
        died_collecting = record.phase == "collecting"
        task.engine.kill()
        remains = task.engine.remains()
        if not died_collecting:
            tell_death(task.log, record, remains)
            task.fail(exception("worker-shutdown", "the process that ran the task died; the queue will run it again"))
        elif record.outcome is not None and not record.outcome.succeeded:
            task.fail(record.outcome)
        self._records.move(
            record.run, (record.phase,), "collecting", this_life(), replace=record.owner, outcome=task.outcome
        )
        life.adopt()
        if died_collecting:
            life.collect()
        else:
            life.hand_over_log()

    def _clean(self, run: RunId, kind: Kind) -> None:
        """Off the path: the uploaders are at work already."""
        clear((self._engine or kind.engine)(run, self._settings), run)
