"""What differs between kinds of payloads; everything else in the life of a run is the same for all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from taskward.core.ids import RunId
from taskward.core.settings import Settings
from taskward.executor import features
from taskward.executor.commands import Commands
from taskward.executor.engine import Engine
from taskward.executor.environment import environment_of
from taskward.executor.features.feature import Feature
from taskward.executor.native import NativeEngine
from taskward.executor.payload import Payload
from taskward.executor.task import Task
from taskward.executor.tasklog import TaskLog
from taskward.executor.watch import Watch

EngineFactory = Callable[[RunId, Settings], Engine]


@dataclass(frozen=True)
class Kind:
    """How runs with one kind of payload are carried out.

    Attributes:
        log: writes the worker's own lines.
        engine: where the commands happen.
        parse: from taskId, definition and settings to the payload; raises `TaskEnded`.
        features: what a task can have, in the order of their start; the first keeps the log.
        work: does what the payload asks for, and raises `TaskEnded` unless it succeeded.
        links_unread: whether the live log's name leads to the log of a task whose payload was refused, too.
    """

    log: type[TaskLog]
    engine: EngineFactory
    parse: Callable[[str, Mapping[str, Any], Settings], Payload]
    features: Callable[[], tuple[type[Feature], ...]]
    work: Callable[[Task, Watch], None]
    links_unread: bool = False


def kind_of(definition: Mapping[str, Any]) -> Kind:
    """A payload with an image is docker-worker's, any other is generic-worker's."""
    payload = definition.get("payload")
    if not isinstance(payload, Mapping) or "image" not in payload:
        return NATIVE
    from taskward.executor.docker.kind import DOCKER  # only workers that run containers need what it imports

    return DOCKER


def _native_engine(run: RunId, settings: Settings) -> Engine:
    return NativeEngine(run, settings.layout, settings.executor)


def _native_payload(task_id: str, definition: Mapping[str, Any], settings: Settings) -> Payload:
    return Payload.parse(task_id, definition.get("payload"), settings.worker.max_run_time_s)


def _native_work(task: Task, watch: Watch) -> None:
    commands = Commands(task.payload, task.engine, task.log, watch, task.used)
    try:
        commands.run(environment_of(task))
    finally:
        task.last_exit_code, task.aborted = commands.last_exit_code, commands.aborted


NATIVE: Final = Kind(TaskLog, _native_engine, _native_payload, lambda: features.ORDER, _native_work)
