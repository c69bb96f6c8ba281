"""The queue's calls on task queues and what waits in them."""

from collections.abc import Callable, Sequence
from typing import Any

from flask import Blueprint, Response

from taskward.devcluster.clock import write_instant
from taskward.devcluster.errors import ResourceNotFound
from taskward.devcluster.identifiers import TASK_QUEUE
from taskward.devcluster.routes.request import Page, body, caller, check_path, cluster, reply
from taskward.devcluster.shapes import array, record, text
from taskward.devcluster.tasks import Run

routes = Blueprint("queues", __name__, url_prefix="/api/queue/v1")
routes.url_value_preprocessor(check_path)

_COUNTS = record({"taskQueueIds": array(text(TASK_QUEUE), longest=1000, unique=True)})
_PENDING = "SELECT task_id, run_id FROM pending_runs WHERE task_queue_id = ? ORDER BY position"
_CLAIMED = (
    "SELECT task_id, run_id FROM runs JOIN tasks USING (task_id)"
    " WHERE task_queue_id = ? AND state = 'running' ORDER BY started"
)


@routes.get("/pending/<pair:task_queue_id>")
def pending_tasks(task_queue_id: str) -> Response:
    """Return how many runs wait for a worker."""
    caller().require(f"queue:pending-count:{task_queue_id}")
    counts = _counts(task_queue_id)
    del counts["claimedTasks"]
    return reply(counts)


@routes.get("/task-queues/<pair:task_queue_id>/counts")
def task_queue_counts(task_queue_id: str) -> Response:
    """Return how many runs wait, and how many are claimed."""
    _require_counts(task_queue_id)
    return reply(_counts(task_queue_id))


@routes.post("/task-queues/counts")
def task_queue_counts_batch() -> Response:
    """Return the same for several queues."""
    wanted = body(_COUNTS)["taskQueueIds"]
    for task_queue_id in wanted:
        _require_counts(task_queue_id)
    return reply({"taskQueueCounts": [_counts(task_queue_id) for task_queue_id in wanted]})


@routes.get("/task-queues/<pair:task_queue_id>/pending")
def list_pending_tasks(task_queue_id: str) -> Response:
    """Return the runs that wait for a worker, the oldest first."""
    caller().require(f"queue:pending-list:{task_queue_id}")
    return _list_runs(_PENDING, task_queue_id, lambda run: {"inserted": write_instant(run.scheduled)})


@routes.get("/task-queues/<pair:task_queue_id>/claimed")
def list_claimed_tasks(task_queue_id: str) -> Response:
    """Return the runs that workers have, the oldest first."""
    caller().require(f"queue:claimed-list:{task_queue_id}")
    return _list_runs(
        _CLAIMED,
        task_queue_id,
        lambda run: {
            "workerGroup": run.worker_group,
            "workerId": run.worker_id,
            "claimed": write_instant(run.started or run.scheduled),
        },
    )


@routes.get("/task-queues")
def list_task_queues() -> Response:
    """Return the queues that workers asked for work."""
    caller().require("queue:list-task-queues")
    return _pages("taskQueues", cluster().queue_workers.list_queues())


@routes.get("/task-queues/<pair:task_queue_id>")
def get_task_queue(task_queue_id: str) -> Response:
    """Return a queue."""
    caller().require(f"queue:get-task-queue:{task_queue_id}")
    return reply(_queue(task_queue_id))


@routes.get("/provisioners")
def list_provisioners() -> Response:
    """Return the first parts of the queues' ids."""
    caller().require("queue:list-provisioners")
    names = {one["taskQueueId"].partition("/")[0] for one in cluster().queue_workers.list_queues()}
    return _pages("provisioners", [_provisioner(name) for name in sorted(names)])


@routes.get("/provisioners/<provisioner_id>")
def get_provisioner(provisioner_id: str) -> Response:
    """Return what the queues with one first part have in common."""
    caller().require(f"queue:get-provisioner:{provisioner_id}")
    return reply(_provisioner(provisioner_id))


@routes.get("/provisioners/<provisioner_id>/worker-types")
def list_worker_types(provisioner_id: str) -> Response:
    """Return the queues with one first part."""
    caller().require(f"queue:list-worker-types:{provisioner_id}")
    return _pages("workerTypes", [_split(one) for one in _queues_of(provisioner_id)])


@routes.get("/provisioners/<provisioner_id>/worker-types/<worker_type>")
def get_worker_type(provisioner_id: str, worker_type: str) -> Response:
    """Return a queue in older words."""
    caller().require(f"queue:get-worker-type:{provisioner_id}/{worker_type}")
    return reply({**_split(_queue(f"{provisioner_id}/{worker_type}")), "actions": []})


def _require_counts(task_queue_id: str) -> None:
    caller().require(f"queue:pending-count:{task_queue_id}", f"queue:claimed-count:{task_queue_id}")


def _counts(task_queue_id: str) -> dict[str, Any]:
    with cluster().database.transaction() as db:
        pending = db.execute("SELECT count(*) FROM pending_runs WHERE task_queue_id = ?", (task_queue_id,)).fetchone()
        claimed = db.execute(
            "SELECT count(*) FROM runs JOIN tasks USING (task_id) WHERE state = 'running' AND task_queue_id = ?",
            (task_queue_id,),
        ).fetchone()
    return {**_split({"taskQueueId": task_queue_id}), "pendingTasks": pending[0], "claimedTasks": claimed[0]}


def _list_runs(query: str, task_queue_id: str, more: Callable[[Run], dict[str, Any]]) -> Response:
    with cluster().database.transaction() as db:
        rows = db.execute(query, (task_queue_id,)).fetchall()
        found = [(cluster().tasks.load(row["task_id"]), row["run_id"]) for row in rows]
    runs = [
        {"taskId": task.task_id, "runId": run_id, "task": task.current_definition(), **more(task.run(run_id))}
        for task, run_id in found
    ]
    return _pages("tasks", runs)


def _pages(name: str, entries: Sequence[dict[str, Any]]) -> Response:
    """A page of a list that is in order; its token is a position, as with the real queue, and one of ours or none."""
    places = list(enumerate(entries, 1))
    return reply(
        Page.of_query().list(
            name,
            lambda after, limit: [place for place in places if place[0] > _position(after)][:limit],
            lambda place: str(place[0]),
            lambda place: place[1],
        )
    )


def _position(token: str) -> int:
    return int(token) if token.isascii() and token.isdigit() and len(token) < 10 else 0


def _queue(task_queue_id: str) -> dict[str, Any]:
    for queue in cluster().queue_workers.list_queues():
        if queue["taskQueueId"] == task_queue_id:
            return queue
    raise ResourceNotFound(f"Task queue with `{task_queue_id}` not found. Are you sure it was created?")


def _queues_of(provisioner_id: str) -> list[dict[str, Any]]:
    return [one for one in cluster().queue_workers.list_queues() if one["taskQueueId"].startswith(f"{provisioner_id}/")]


def _provisioner(provisioner_id: str) -> dict[str, Any]:
    queues = _queues_of(provisioner_id)
    if not queues:
        raise ResourceNotFound(f"Provisioner `{provisioner_id}` not found. Are you sure it was created?")
    latest = {name: max(queue[name] for queue in queues) for name in ("expires", "lastDateActive")}
    return {"provisionerId": provisioner_id, **latest, "description": "", "stability": "experimental", "actions": []}


def _split(queue: dict[str, Any]) -> dict[str, Any]:
    provisioner_id, _, worker_type = queue["taskQueueId"].partition("/")
    return {"provisionerId": provisioner_id, "workerType": worker_type, **queue}
