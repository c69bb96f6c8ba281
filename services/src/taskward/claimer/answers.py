"""The queue's answers to claimWork, reclaimTask and status, looked at whole before anything is done with them.

Each claim is usable or not on its own: what is wrong with one says nothing about its neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from taskward.core.clock import parse_time
from taskward.core.ids import RunId
from taskward.core.taskcluster import Credentials

_SHOWN: Final = 80


@dataclass(frozen=True)
class Claim:
    """A run that is ours until `taken_until`."""

    run: RunId
    credentials: Credentials
    taken_until: datetime
    definition: Mapping[str, Any]
    worker_group: str
    worker_id: str

    @property
    def scopes(self) -> list[str]:
        """``task.scopes``."""
        return list(self.definition.get("scopes", []))


@dataclass(frozen=True)
class Misfit:
    """A claim that cannot be used. With `run` and `credentials` it can be given up at once, for `reason`."""

    task_id: str
    """As far as it can be read; for people."""
    fault: str
    run: RunId | None = None
    credentials: Credentials | None = None
    reason: str = "internal-error"


@dataclass(frozen=True)
class Renewal:
    """What reclaimTask grants."""

    credentials: Credentials
    taken_until: datetime

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> Self:
        """From the queue's answer.

        Raises:
            ValueError: it grants nothing that could be used; the text names the field.
        """
        return cls(_credentials(answer), _taken_until(answer))


def read(entry: object) -> Claim | Misfit:
    """One entry of claimWork's ``tasks``; a fault of the definition is the task's, any other is nobody's here."""
    fields = entry if isinstance(entry, Mapping) else {}
    status = fields.get("status")
    task_id = _shown(status.get("taskId")) if isinstance(status, Mapping) else ""
    run, credentials, reason = None, None, "internal-error"
    try:
        run = _run(entry)
        credentials = _credentials(fields)
        reason = "malformed-payload"
        definition = _definition(fields)
        reason = "internal-error"
        until = _taken_until(fields)
        return Claim(run, credentials, until, definition, _name(fields, "workerGroup"), _name(fields, "workerId"))
    except ValueError as error:
        return Misfit(task_id, str(error), run, credentials, reason)


def runs(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The runs in the queue's answer to status, each with a state.

    Raises:
        ValueError: there are none to be read.
    """
    status = answer.get("status")
    found = status.get("runs") if isinstance(status, Mapping) else None
    if isinstance(found, list) and all(isinstance(run, Mapping) and isinstance(run.get("state"), str) for run in found):
        return found
    raise ValueError("status.runs: not a list of runs with a state")


def _run(entry: object) -> RunId:
    if not isinstance(entry, Mapping):
        raise ValueError(f"not an object but {type(entry).__name__}")  # which may hold credentials
    status, run_id = entry.get("status"), entry.get("runId")
    if not isinstance(status, Mapping) or not isinstance(status.get("taskId"), str):
        raise ValueError("status: not an object with a taskId")
    if not isinstance(run_id, int):
        raise ValueError(f"runId: not a number: {_shown(run_id)}")
    return RunId(status["taskId"], run_id)


def _credentials(fields: Mapping[str, Any]) -> Credentials:
    """Their values are in no error: they may be half right."""
    given = fields.get("credentials")
    if not isinstance(given, Mapping) or not (_is_plain(given.get("clientId")) and _is_plain(given.get("accessToken"))):
        raise ValueError("credentials: not an object with clientId and accessToken")
    return Credentials.parse(given)


def _definition(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    task = fields.get("task")
    if not isinstance(task, Mapping):
        raise ValueError(f"task: not an object: {_shown(task)}")
    scopes = task.get("scopes", [])
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise ValueError(f"task.scopes: not a list of strings: {_shown(scopes)}")
    if "deadline" in task:
        _time(task["deadline"], "task.deadline")
    return task


def _taken_until(fields: Mapping[str, Any]) -> datetime:
    return _time(fields.get("takenUntil"), "takenUntil")


def _time(value: object, name: str) -> datetime:
    try:
        return parse_time(value if isinstance(value, str) else "")
    except (ValueError, OverflowError) as error:  # the latter near the years 1 and 9999
        raise ValueError(f"{name}: not a time: {_shown(value)}") from error


def _name(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if not _is_plain(value):
        raise ValueError(f"{key}: not a name: {_shown(value)}")
    return str(value)


def _is_plain(value: object) -> bool:
    """What a header and Redis take as it is."""
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable()


def _shown(value: object) -> str:
    return repr(value)[:_SHOWN]
