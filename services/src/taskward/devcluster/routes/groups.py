"""The queue's calls on task groups."""

from typing import Any

from flask import Blueprint, Response

from taskward.devcluster.clock import write_instant
from taskward.devcluster.definition import PRIORITIES
from taskward.devcluster.errors import ResourceNotFound
from taskward.devcluster.routes.request import Page, body, caller, check_path, cluster, reply
from taskward.devcluster.scopes import all_of, any_of
from taskward.devcluster.shapes import record, text
from taskward.devcluster.tasks import Task

routes = Blueprint("groups", __name__, url_prefix="/api/queue/v1/task-group/<task_group_id>")
routes.url_value_preprocessor(check_path)

PRIORITY = record({"newPriority": text(choices=PRIORITIES)})


@routes.get("/list")
def list_task_group(task_group_id: str) -> Response:
    """Return the tasks of a group."""
    caller().require(f"queue:list-task-group:{task_group_id}")
    group = _load(task_group_id)
    page = Page.of_query().list(
        "tasks",
        lambda after, limit: _members(task_group_id, after, limit),
        lambda one: one.task_id,
        lambda one: {"status": one.status(), "task": one.current_definition()},
    )
    return reply({**group, **page})


@routes.get("")
def get_task_group(task_group_id: str) -> Response:
    """Return a group."""
    caller().require(f"queue:list-task-group:{task_group_id}")
    return reply(_load(task_group_id))


@routes.post("/seal")
def seal_task_group(task_group_id: str) -> Response:
    """Let no more tasks into a group."""
    _require("seal-task-group", "seal-task-group-in-project", task_group_id)
    cluster().creation.seal_group(task_group_id)
    return reply(_load(task_group_id))


@routes.post("/cancel")
def cancel_task_group(task_group_id: str) -> Response:
    """Cancel the unresolved tasks of a group; sealed or not, though the real queue's description wants it sealed."""
    _require("cancel-task-group", "cancel-task-in-project", task_group_id)
    members = _members(task_group_id)
    canceled = [one.task_id for one in members if one.open and one.deadline >= cluster().clock.now()]
    for task_id in canceled:
        cluster().runs.cancel(task_id)
    counts = {"taskGroupSize": len(members), "cancelledCount": len(canceled)}
    return reply({"taskGroupId": task_group_id, **counts, "taskIds": canceled})


@routes.post("/priority")
def change_task_group_priority(task_group_id: str) -> Response:
    """Give the unresolved tasks of a group another priority."""
    wanted = body(PRIORITY)["newPriority"]
    scheduler_id = _load(task_group_id)["schedulerId"]
    caller().require(f"queue:change-task-group-priority:{scheduler_id}/{task_group_id}")
    changed = [one.task_id for one in _members(task_group_id) if one.open and one.priority != wanted]
    for task_id in changed:
        cluster().tasks.set_priority(task_id, wanted)
    group = {"taskGroupId": task_group_id, "schedulerId": scheduler_id, "newPriority": wanted}
    return reply({**group, "tasksAffected": len(changed), "taskIds": changed})


def _require(verb: str, in_project: str, task_group_id: str) -> None:
    """Demand the right on the group, or that on the projects of all its tasks."""
    scheduler_id = _load(task_group_id)["schedulerId"]
    projects = {one.definition["projectId"] for one in _members(task_group_id)}
    caller().require(
        any_of(
            f"queue:{verb}:{scheduler_id}/{task_group_id}",
            all_of(*(f"queue:{in_project}:{project}" for project in sorted(projects))),
        )
    )


def _members(task_group_id: str, after: str = "", limit: int = -1) -> list[Task]:
    with cluster().database.transaction() as db:
        rows = db.execute(
            "SELECT task_id FROM tasks WHERE task_group_id = ? AND task_id > ? ORDER BY task_id LIMIT ?",
            (task_group_id, after, limit),
        ).fetchall()
        return cluster().tasks.load_many(row[0] for row in rows)


def _load(task_group_id: str) -> dict[str, Any]:
    with cluster().database.transaction() as db:
        row = db.execute("SELECT * FROM task_groups WHERE task_group_id = ?", (task_group_id,)).fetchone()
    if row is None:
        raise ResourceNotFound(f"No task-group with taskGroupId: `{task_group_id}`")
    group = {
        "taskGroupId": task_group_id,
        "schedulerId": row["scheduler_id"],
        "expires": write_instant(row["expires"]),
    }
    return {**group, "sealed": write_instant(row["sealed"])} if row["sealed"] else group
