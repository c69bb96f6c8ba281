"""The queue's calls on tasks."""

from typing import Any

from flask import Blueprint, Response

from taskward.devcluster.definition import Definition
from taskward.devcluster.errors import RequestConflict
from taskward.devcluster.routes.groups import PRIORITY
from taskward.devcluster.routes.request import Page, body, caller, check_path, cluster, reply
from taskward.devcluster.scopes import any_of
from taskward.devcluster.shapes import anything, array, record, text
from taskward.devcluster.tasks import Task

routes = Blueprint("queue", __name__, url_prefix="/api/queue/v1")
routes.url_value_preprocessor(check_path)

_IDS = record({}, {"taskIds": array(text(), longest=1000)})


def _status(task: Task) -> Response:
    return reply({"status": task.status()})


def _require_control(verb: str, task: Task) -> None:
    group = f"{task.scheduler_id}/{task.task_group_id}"
    project = task.definition["projectId"]
    caller().require(any_of(f"queue:{verb}-task:{group}/{task.task_id}", f"queue:{verb}-task-in-project:{project}"))


@routes.put("/task/<task_id>")
def create_task(task_id: str) -> Response:
    """Create a task, or confirm that it is there."""
    definition = Definition.parse(task_id, body(anything))
    caller().require(definition.required_scopes())
    return _status(cluster().creation.create(task_id, definition))


@routes.get("/task/<task_id>")
def task(task_id: str) -> Response:
    """Return a task's definition."""
    caller().require(f"queue:get-task:{task_id}")
    return reply(cluster().tasks.load(task_id).current_definition())


@routes.post("/tasks")
def tasks() -> Response:
    """Return several tasks' definitions."""
    ids = body(_IDS).get("taskIds", [])
    caller().require(*(f"queue:get-task:{task_id}" for task_id in ids))
    found = cluster().tasks.load_many(ids)
    return reply({"tasks": [{"taskId": one.task_id, "task": one.current_definition()} for one in found]})


@routes.get("/task/<task_id>/status")
def status(task_id: str) -> Response:
    """Return a task's status."""
    caller().require(f"queue:status:{task_id}")
    return _status(cluster().tasks.load(task_id))


@routes.post("/tasks/status")
def statuses() -> Response:
    """Return several tasks' statuses."""
    ids = body(_IDS).get("taskIds", [])
    caller().require(*(f"queue:status:{task_id}" for task_id in ids))
    found = cluster().tasks.load_many(ids)
    return reply({"statuses": [{"taskId": one.task_id, "status": one.status()} for one in found]})


@routes.post("/task/<task_id>/schedule")
def schedule_task(task_id: str) -> Response:
    """Make a task pending whatever it waits for."""
    _require_control("schedule", cluster().tasks.load(task_id))
    return _status(cluster().scheduling.schedule(task_id))


@routes.post("/task/<task_id>/rerun")
def rerun_task(task_id: str) -> Response:
    """Give a resolved task a new run."""
    _require_control("rerun", cluster().tasks.load(task_id))
    return _status(cluster().runs.rerun(task_id))


@routes.post("/task/<task_id>/cancel")
def cancel_task(task_id: str) -> Response:
    """Resolve a task as canceled."""
    _require_control("cancel", cluster().tasks.load(task_id))
    return _status(cluster().runs.cancel(task_id))


@routes.post("/task/<task_id>/priority")
def change_task_priority(task_id: str) -> Response:
    """Give an unresolved task another priority."""
    wanted = body(PRIORITY)["newPriority"]
    known = cluster().tasks.load(task_id)
    caller().require(
        any_of(
            f"queue:change-task-priority:{task_id}",
            f"queue:change-task-priority-in-queue:{known.task_queue_id}",
        )
    )
    if not known.open:
        raise RequestConflict(f"Task `{task_id}` is resolved; its priority does not matter any more")
    cluster().tasks.set_priority(task_id, wanted)
    return _status(cluster().tasks.load(task_id))


@routes.get("/task/<task_id>/dependents")
def list_dependent_tasks(task_id: str) -> Response:
    """Return the tasks that depend on a task."""
    caller().require(f"queue:list-dependent-tasks:{task_id}")
    cluster().tasks.load(task_id)
    page = Page.of_query().list(
        "tasks", lambda after, limit: _dependents(task_id, after, limit), lambda one: one.task_id, _entry
    )
    return reply({"taskId": task_id, **page})


def _entry(known: Task) -> dict[str, Any]:
    return {"status": known.status(), "task": known.current_definition()}


def _dependents(task_id: str, after: str, limit: int) -> list[Task]:
    with cluster().database.transaction() as db:
        rows = db.execute(
            "SELECT dependent_id FROM dependencies WHERE required_id = ? AND dependent_id > ?"
            " ORDER BY dependent_id LIMIT ?",
            (task_id, after, limit),
        ).fetchall()
        return cluster().tasks.load_many(row[0] for row in rows)
