"""Task definitions: their shape, their defaults, the limits on their times."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from taskward.devcluster.clock import parse_instant, write_instant
from taskward.devcluster.errors import InputError
from taskward.devcluster.identifiers import GENERIC, SCOPE, SLUG, TASK_QUEUE, WORKER_TYPE
from taskward.devcluster.scopes import Expression, all_of, any_of
from taskward.devcluster.shapes import array, check, instant, integer, mapping, record, text

PRIORITIES = ("highest", "very-high", "high", "medium", "low", "very-low", "lowest")
#: How far ``created`` may be off, and how much longer than five days a deadline may be away.
DRIFT = timedelta(minutes=15)
LONGEST_DEADLINE = timedelta(days=5)

_METADATA = record(
    {
        "name": text(longest=255),
        "description": text(longest=32768),
        "owner": text(longest=255),
        "source": text(r"(https?://|ssh://|git@).*", longest=4096),
    }
)
_TASK = record(
    {"created": instant, "deadline": instant, "payload": mapping(), "metadata": _METADATA},
    {
        "provisionerId": text(GENERIC),
        "workerType": text(WORKER_TYPE),
        "taskQueueId": text(TASK_QUEUE),
        "schedulerId": text(GENERIC),
        "projectId": text(r"[a-zA-Z0-9._/-]{1,500}"),
        "taskGroupId": text(SLUG),
        "dependencies": array(text(SLUG), longest=10000, unique=True),
        "requires": text(choices=("all-completed", "all-resolved")),
        "routes": array(text(shortest=1, longest=249), longest=64, unique=True),
        "priority": text(choices=(*PRIORITIES, "normal")),
        "retries": integer(0, 49),
        "expires": instant,
        "scopes": array(text(SCOPE)),
        "tags": mapping(text(longest=4096)),
        "extra": mapping(),
    },
)


@dataclass(frozen=True)
class Definition:
    """A task definition with every default filled in, as ``queue.task`` returns it."""

    document: dict[str, Any]

    @staticmethod
    def parse(task_id: str, body: Any) -> "Definition":
        """Check the shape of a body of ``createTask`` and fill it in; its times are for `check_times`.

        Raises ``InputValidationError``, and ``InputError`` when it names no queue or two.
        """
        check(_TASK, body)
        created, deadline = parse_instant(body["created"]), parse_instant(body["deadline"])
        expires = parse_instant(body["expires"]) if "expires" in body else _years_later(deadline)
        queue = _queue_id(body)
        provisioner_id, _, worker_type = queue.partition("/")
        priority = body.get("priority", "lowest")
        return Definition(
            {
                "provisionerId": provisioner_id,
                "workerType": worker_type,
                "taskQueueId": queue,
                "schedulerId": body.get("schedulerId", "-"),
                "projectId": body.get("projectId", "none"),
                "taskGroupId": body.get("taskGroupId", task_id),
                "dependencies": body.get("dependencies", []),
                "requires": body.get("requires", "all-completed"),
                "routes": body.get("routes", []),
                "priority": "lowest" if priority == "normal" else priority,
                "retries": body.get("retries", 5),
                "created": write_instant(created),
                "deadline": write_instant(deadline),
                "expires": write_instant(expires),
                "scopes": body.get("scopes", []),
                "payload": body["payload"],
                "metadata": body["metadata"],
                "tags": body.get("tags", {}),
                "extra": body.get("extra", {}),
            }
        )

    def check_times(self, now: datetime) -> None:
        """What only counts once the creator is allowed to create it; raises ``InputError``."""
        created, deadline, expires = (parse_instant(self.document[key]) for key in ("created", "deadline", "expires"))
        _check_times(created, deadline, expires, now)
        if any(scope.endswith("**") for scope in self.document["scopes"]):
            raise InputError("scopes must not end with `**`")

    def required_scopes(self) -> Expression:
        """Return what the creator must be allowed: the task's own scopes, its routes, queue and group."""
        task = self.document
        higher = PRIORITIES[: PRIORITIES.index(task["priority"]) + 1]
        return all_of(
            *task["scopes"],
            *(f"queue:route:{route}" for route in task["routes"]),
            f"queue:create-task:project:{task['projectId']}",
            f"queue:scheduler-id:{task['schedulerId']}",
            any_of(*(f"queue:create-task:{priority}:{task['taskQueueId']}" for priority in higher)),
        )


def _queue_id(body: dict[str, Any]) -> str:
    named = [body["taskQueueId"]] if "taskQueueId" in body else []
    if "provisionerId" in body and "workerType" in body:
        named.append(f"{body['provisionerId']}/{body['workerType']}")
    if not named:
        raise InputError("at least a provisionerId and a workerType or a taskQueueId must be provided")
    if len(set(named)) > 1:
        raise InputError("taskQueueId must match provisionerId/workerType")
    return str(named[0])


def _check_times(created: datetime, deadline: datetime, expires: datetime, now: datetime) -> None:
    if created < now - DRIFT:
        raise InputError("`created` cannot be in the past (max 15min drift)")
    if created > now + DRIFT:
        raise InputError("`created` cannot be in the future (max 15min drift)")
    if created > deadline:
        raise InputError("`deadline` cannot be earlier than `created`")
    if deadline < now:
        raise InputError("`deadline` cannot be in the past")
    if deadline > now + LONGEST_DEADLINE + DRIFT:
        raise InputError("`deadline` cannot be more than 5 days into the future")
    if deadline > expires:
        raise InputError("`expires` cannot be before `deadline`")


def _years_later(deadline: datetime) -> datetime:
    try:
        return deadline.replace(year=deadline.year + 1)
    except ValueError:  # 29 February
        return deadline.replace(year=deadline.year + 1, month=3, day=1)
