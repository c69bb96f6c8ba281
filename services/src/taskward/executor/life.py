"""The life of one run in the executor: prepare, run, collect, hand over; each phase is recorded before its work."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from redis.exceptions import RedisError

from taskward.core import locks
from taskward.core.errors import PhaseConflict
from taskward.core.outbox import Index, balance
from taskward.core.outcome import COMPLETED, Outcome, exception, failed
from taskward.core.process import this_life
from taskward.core.space import FULL_FOR_S, NO_SPACE, patiently
from taskward.executor import features, pastlogs
from taskward.executor.clone import NO_ROOM
from taskward.executor.collect import open_outbox
from taskward.executor.errors import EngineExhausted, EngineFailed, ExecutorError, TaskEnded
from taskward.executor.features.chain_of_trust import ChainOfTrust
from taskward.executor.features.feature import Feature, admit
from taskward.executor.kind import Kind
from taskward.executor.mounts.store import Store
from taskward.executor.pastlogs import KEPT_OF_LOG_BYTES
from taskward.executor.payload import PayloadRefused
from taskward.executor.report import tell_problems
from taskward.executor.room import Need
from taskward.executor.task import UNREAD, Task
from taskward.executor.watch import TICK_S, Watch, log_too_large

_BATCHES_PER_UPLOADER: Final = 4

_logger = logging.getLogger(__name__)


class Life:
    """Everything that happens to a run here; for the one process that owns it."""

    def __init__(self, task: Task, watch: Watch, kind: Kind) -> None:
        self._task, self._watch, self._kind = task, watch, kind
        task.watch = watch
        self._owner = this_life()
        self._started: list[Feature] = []
        self.seconds: dict[str, float] = {}
        """How long each phase took: ``prepare``, ``run``, ``collect``."""

    def begin(self) -> None:
        """A run that was just claimed: from its first line to its last command, and then `collect`.

        Raises:
            PhaseConflict: somebody else has it; nothing was done.
        """
        self._move(("claimed",), "preparing")
        with self._timed("prepare"):
            self._attempt(self._prepare)
        if self._task.outcome is None:
            self._move(("preparing",), "running")
            with self._timed("run"):
                self._attempt(self._run)
        self.collect()

    def adopt(self) -> None:
        """The features of a run whose process has died: none is started, all are there to be stopped."""
        log, *others = self._kind.features()
        self._started = [log(self._task)]
        try:
            self._read_payload()
        except TaskEnded as end:
            self._task.fail(end.outcome)
            return
        for other in others:
            feature = other(self._task)
            if feature.requested():
                self._attempt(lambda feature=feature: admit(feature))  # type: ignore[misc]
                self._started.append(feature)

    def collect(self) -> None:
        """Kills what is left, stops the features, and hands the outbox to the uploaders."""
        with self._timed("collect"):
            self._collect()

    def _collect(self) -> None:
        task = self._task
        if shortage := self._shortage():
            task.fail(shortage)  # rather than what fails for lack of room from now on
        for feature in reversed(self._started):
            self._attempt(feature.close)
        killed = self._attempt(task.engine.kill)
        self._attempt(self._cut_log)
        if not killed:
            self._started = [feature for feature in self._started if not feature.publishes]
        elif shortage := shortage or self._shortage():
            self._make_room(shortage)
        self._move(("preparing", "running", "collecting"), "collecting", task.outcome or COMPLETED)
        for feature in reversed(self._started):
            self._attempt(feature.stop)
        index = self._index()
        outbox = task.layout.outbox(task.run)
        patiently(lambda: open_outbox(outbox))
        patiently(lambda: index.write(outbox))
        task.records.fan_out(task.run, self._owner, len(index.batches), task.outcome or COMPLETED)

    def retain(self) -> None:
        """For as long as a feature wants it, the run's user and directory stay; nothing can spoil the run any more."""
        for feature in reversed(self._started):
            try:
                feature.retain()
            except (ExecutorError, OSError) as error:
                _logger.error("run not retained", extra={"run": self._task.run.key, "reason": str(error)})

    def hand_over_log(self) -> None:
        """Only the log, for a run that died with its process."""
        self._started = [feature for feature in self._started if not feature.publishes]
        self.collect()

    def _prepare(self) -> None:
        log, *others = self._kind.features()
        backing_log = log(self._task)
        self._started.append(backing_log)
        backing_log.start()
        self._read_payload()
        admit(backing_log)
        self._find_room()
        for warning in self._task.engine.prepare():
            self._task.log.warn(warning)
        for other in others:
            self._start(other(self._task))

    def _find_room(self) -> None:
        """What no task uses makes room. Where there is hardly any, another task may have filled the disk, and be losing
        its files just now: that is waited for."""
        layout, settings = self._task.layout, self._task.settings
        need, patience_s = Need.before(settings.executor), FULL_FOR_S if self._shortage() else 0.0
        deadline = time.monotonic() + patience_s
        while True:
            pastlogs.make_room(layout, self._task.records, need)
            try:
                Store(layout.state_dir).make_room(need, settings.worker.capacity)
                return
            except TaskEnded:
                if time.monotonic() >= deadline or sum(map(locks.is_locked, locks.visible(layout.proofs))) <= 1:
                    raise
            self._watch.check()
            time.sleep(TICK_S)

    def _read_payload(self) -> None:
        task = self._task
        try:
            task.payload = self._kind.parse(task.run.task_id, task.definition, task.settings)
        except PayloadRefused as refused:
            tell_problems(task.log, refused)
            raise

    def _start(self, feature: Feature) -> None:
        if feature.requested():
            admit(feature)
            self._started.append(feature)
            feature.start()

    def _shortage(self) -> Outcome | None:
        """Of room on the worker's disk: without any, Redis ends, and nothing of any run can be recorded."""
        lack = Need.always(self._task.settings.executor).shortage(self._task.layout.state_dir)
        if lack is None:
            return None
        setting = "min_free_disk_bytes" if lack.unit == "bytes" else "min_free_inodes"
        return failed(
            f"task aborted - less than {lack.least} {lack.unit} were left on the worker's disk ([executor] {setting}); "
            "the task's files were removed"
        )

    def _cut_log(self) -> None:
        """What a task did to its log at its very end: others would wait for hours until it is uploaded."""
        most_bytes = self._task.settings.executor.max_log_bytes
        if most_bytes and self._task.log.cut(most_bytes):
            self._task.log.warn(f"the log was longer than the {most_bytes} bytes that are left of it")
            self._task.fail(log_too_large(most_bytes))

    def _make_room(self, shortage: Outcome) -> None:
        """Before Redis is asked for anything: it may be waiting for this."""
        self._task.fail(shortage)
        self._started = [feature for feature in self._started if not feature.publishes]
        self._attempt(self._task.engine.remove)
        if self._shortage() and self._task.log.cut(KEPT_OF_LOG_BYTES):
            self._task.log.warn(f"only the first {KEPT_OF_LOG_BYTES} bytes of the log are left, for lack of room")

    def _run(self) -> None:
        task = self._task
        self._watch.observe(self._shortage)
        self._watch.limit(task.payload.max_run_time_s)
        self._kind.work(task, self._watch)

    def _attempt(self, step: Callable[[], None]) -> bool:
        """Does `step`; what goes wrong becomes the run's outcome, unless something went wrong before."""
        task = self._task
        try:
            step()
            return True
        except TaskEnded as end:
            task.fail(end.outcome)
        except EngineFailed as error:
            _logger.error("engine failed", extra={"run": task.run.key, "reason": str(error)})
            task.fail(_unable(error, str(error)))
        except (RedisError, PhaseConflict):
            raise
        except Exception as error:
            _logger.exception("unexpected error", extra={"run": task.run.key})
            task.fail(_unable(error, repr(error)))
        return False

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = time.monotonic() - began

    def _move(self, allowed: tuple[str, ...], phase: str, outcome: Outcome | None = None) -> None:
        task = self._task
        task.records.move(task.run, allowed, phase, self._owner, outcome=outcome)

    def _index(self) -> Index:
        task = self._task
        payload, most = task.payload, _BATCHES_PER_UPLOADER * task.settings.uploader.processes
        stopped = {type(feature) for feature in self._started}
        entries = tuple(task.entries)
        backing = payload.backing_log if "backingLog" in payload.features else ""
        certifies = ChainOfTrust in stopped
        linked = features.LiveLog in stopped or (payload is UNREAD and self._kind.links_unread)
        return Index(
            entries=entries,
            batches=balance(entries, most) if entries else (),
            log=str(task.log.path),
            live_log_name=payload.live_log if linked and backing else "",
            backing_log_name=backing,
            bulk_log_name=task.bulk_log,
            expires=str(task.definition["expires"]),
            certify=certifies and "chainOfTrust" in payload.features,
            certificate=certifies and "generateCertificate" in payload.features,
            environment=task.image_facts,
        )


def _unable(error: Exception, text: str) -> Outcome:
    """A machine without processes, memory or disk may have them again soon: the queue runs the task once more."""
    exhausted = isinstance(error, EngineExhausted) or (isinstance(error, OSError) and error.errno in NO_ROOM | NO_SPACE)
    reason = "intermittent-task" if exhausted else "internal-error"
    return exception(reason, f"the worker could not run the task: {text}")
