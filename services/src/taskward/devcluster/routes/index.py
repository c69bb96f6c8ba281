"""The index service."""

from flask import Blueprint, Response

from taskward.devcluster.clock import parse_instant
from taskward.devcluster.identifiers import SLUG
from taskward.devcluster.routes.artifacts import follow_latest, lead_to
from taskward.devcluster.routes.request import Page, body, caller, check_path, cluster, reply
from taskward.devcluster.shapes import array, check, instant, integer, mapping, record, text

routes = Blueprint("index", __name__, url_prefix="/api/index/v1")
routes.url_value_preprocessor(check_path)

_INSERT = record({"taskId": text(SLUG), "rank": integer(-(2**53), 2**53), "data": mapping(), "expires": instant})
_NAMESPACE = text(longest=255)


@routes.get("/task/<index_path>")
def find_task(index_path: str) -> Response:
    """Return the task at a path."""
    caller().require(f"index:find-task:{index_path}")
    return reply(cluster().index.find(index_path))


@routes.put("/task/<namespace>")
def insert_task(namespace: str) -> Response:
    """Put a task at a path."""
    wish = body(_INSERT)
    check(_NAMESPACE, namespace)
    caller().require(f"index:insert-task:{namespace}")
    cluster().index.insert(namespace, wish["taskId"], wish["rank"], wish["data"], parse_instant(wish["expires"]))
    return reply(cluster().index.find(namespace))


@routes.delete("/task/<namespace>")
def delete_task(namespace: str) -> Response:
    """Remove what is at a path."""
    caller().require(f"index:delete-task:{namespace}")
    cluster().index.delete(namespace)
    return reply({})


@routes.post("/tasks/indexes")
def find_tasks_at_index() -> Response:
    """Return the tasks at several paths, those that there are."""
    wanted = body(record({"indexes": array(text())}))["indexes"]
    caller().require(*(f"index:find-task:{path}" for path in wanted))
    found = [one for path in sorted(set(wanted)) if (one := cluster().index.look_up(path))]
    return reply(
        Page.of_query().list(
            "tasks",
            lambda after, limit: [one for one in found if one["namespace"] > after][:limit],
            lambda one: str(one["namespace"]),
        )
    )


@routes.get("/tasks/", defaults={"namespace": ""})
@routes.get("/tasks", defaults={"namespace": ""})
@routes.get("/tasks/<namespace>")
def list_tasks(namespace: str) -> Response:
    """Return the tasks directly below a path."""
    caller().require(f"index:list-tasks:{namespace}")
    return reply(
        Page.of_query().list(
            "tasks",
            lambda after, limit: cluster().index.list_tasks(namespace, after, limit),
            lambda one: str(one["namespace"]),
        )
    )


@routes.get("/namespaces/", defaults={"namespace": ""})
@routes.get("/namespaces", defaults={"namespace": ""})
@routes.get("/namespaces/<namespace>")
def list_namespaces(namespace: str) -> Response:
    """Return the paths one step below a path."""
    caller().require(f"index:list-namespaces:{namespace}")
    return reply(
        Page.of_query().list(
            "namespaces",
            lambda after, limit: cluster().index.list_namespaces(namespace, after, limit),
            lambda one: str(one["namespace"]),
        )
    )


@routes.get("/task/<index_path>/artifacts/<any_text:name>")
def find_artifact_from_task(index_path: str, name: str) -> Response:
    """Lead to an artifact of the task at a path."""
    return lead_to(follow_latest(cluster().index.find(index_path)["taskId"], name))
