"""One run in the hands of the executor: what its features share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from redis import Redis

from taskward.core.clock import Clock, parse_time, utc_now
from taskward.core.ids import RunId
from taskward.core.layout import Layout
from taskward.core.outbox import Entry
from taskward.core.outcome import Outcome
from taskward.core.record import Record, Records
from taskward.core.settings import Settings
from taskward.executor.engine import Engine
from taskward.executor.payload import DEFAULT_BACKING_LOG, DEFAULT_LIVE_LOG, Payload
from taskward.executor.tasklog import TaskLog
from taskward.executor.watch import Watch

UNREAD: Final = Payload(
    commands=(), script=(), max_run_time_s=0, env={}, artifacts=(), features=frozenset({"backingLog"}),
    live_log=DEFAULT_LIVE_LOG, backing_log=DEFAULT_BACKING_LOG, retry_codes=frozenset(),
    mounts=(), purge_codes=frozenset(),
)  # fmt: skip
"""What holds for a task whose payload cannot be read: it has a log."""


@dataclass
class Task:
    """A run's record, what its payload asks for, and what came of it so far.

    Attributes:
        record: as it was when this process took the run.
        payload: `UNREAD` until it was found to be valid.
        environment: variables that features set and the payload cannot replace.
        reserved: artifact name → the feature that publishes it.
        entries: artifacts to upload.
        batches: how many upload jobs at most.
        outcome: the first error, or None.
        watch: what else can end the run, for features that make it wait; None where nothing is started.
        last_exit_code: of the command that ended last; None before one has.
        bulk_log: name of an artifact that is the log once more; empty for none.
        image_facts: what chain of trust tells of the container's image.
        keeps_files: whether artifacts stay where they are when they are collected, for somebody to look at.
        used: rows that say what a command has used, for the block after it.
        aborted: whether a command was stopped before it ended.
    """

    record: Record
    settings: Settings
    redis: Redis
    log: TaskLog
    engine: Engine
    clock: Clock = utc_now
    payload: Payload = UNREAD
    environment: dict[str, str] = field(default_factory=dict)
    reserved: dict[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    outcome: Outcome | None = None
    watch: Watch | None = None
    last_exit_code: int | None = None
    aborted: bool = False
    keeps_files: bool = False
    bulk_log: str = ""
    image_facts: dict[str, str] = field(default_factory=dict)
    used: Callable[[], Mapping[str, str]] = dict

    @property
    def run(self) -> RunId:
        """Which run."""
        return self.record.run

    @property
    def definition(self) -> Mapping[str, Any]:
        """The task as its author created it."""
        return self.record.definition

    @property
    def expires(self) -> datetime:
        """When everything of the task is deleted."""
        return parse_time(self.definition["expires"])

    @property
    def layout(self) -> Layout:
        """Where everything lies."""
        return self.settings.layout

    @property
    def records(self) -> Records:
        """The run records."""
        return Records(self.redis)

    def fail(self, outcome: Outcome) -> None:
        """Something went wrong; the first such thing decides."""
        self.outcome = self.outcome or outcome
