"""The queue's calls on artifacts."""

import json
from typing import Any

from flask import Blueprint, Response, redirect

from taskward.devcluster.artifacts import LONGEST_NAME, Artifact
from taskward.devcluster.errors import InternalServerError, ResourceNotFound
from taskward.devcluster.identifiers import SLUG
from taskward.devcluster.routes.request import Page, body, caller, check_path, cluster, reply
from taskward.devcluster.shapes import anything, record, text

routes = Blueprint("artifacts", __name__, url_prefix="/api/queue/v1")
routes.url_value_preprocessor(check_path)

_FINISH = record({"uploadId": text(SLUG)})


@routes.post("/task/<task_id>/runs/<run_id>/artifacts/<any_text:name>")
def create_artifact(task_id: str, run_id: int, name: str) -> Response:
    """Make an artifact and return where its bytes go."""
    caller().require(f"queue:create-artifact:{task_id}/{run_id}")
    return reply(cluster().artifacts.create(task_id, run_id, name, body(anything)))


@routes.put("/task/<task_id>/runs/<run_id>/artifacts/<any_text:name>")
def finish_artifact(task_id: str, run_id: int, name: str) -> Response:
    """Make an uploaded object readable as an artifact."""
    caller().require(f"queue:create-artifact:{task_id}/{run_id}")
    cluster().artifacts.finish(task_id, run_id, name, body(_FINISH)["uploadId"])
    return Response(status=204)


@routes.get("/task/<task_id>/runs/<run_id>/artifacts")
def list_artifacts(task_id: str, run_id: int) -> Response:
    """Return the artifacts of a run."""
    caller().require(f"queue:list-artifacts:{task_id}:{run_id}")
    return _list(task_id, run_id)


@routes.get("/task/<task_id>/artifacts")
def list_latest_artifacts(task_id: str) -> Response:
    """Return the artifacts of the last run."""
    caller().require(f"queue:list-artifacts:{task_id}")
    return _list(task_id, _latest(task_id))


@routes.get("/task/<task_id>/runs/<run_id>/artifacts/<any_text:name>")
def get_artifact(task_id: str, run_id: int, name: str) -> Response:
    """Lead to the bytes of an artifact."""
    return lead_to(_follow(task_id, run_id, name))


@routes.get("/task/<task_id>/artifacts/<any_text:name>")
def get_latest_artifact(task_id: str, name: str) -> Response:
    """Lead to the bytes of an artifact of the last run."""
    return lead_to(follow_latest(task_id, name))


@routes.get("/task/<task_id>/runs/<run_id>/artifact-content/<any_text:name>")
def artifact(task_id: str, run_id: int, name: str) -> Response:
    """Return how to get at an artifact."""
    return reply(cluster().reading.content(_follow(task_id, run_id, name)))


@routes.get("/task/<task_id>/artifact-content/<any_text:name>")
def latest_artifact(task_id: str, name: str) -> Response:
    """Return how to get at an artifact of the last run."""
    return reply(cluster().reading.content(follow_latest(task_id, name)))


@routes.get("/task/<task_id>/runs/<run_id>/artifact-info/<any_text:name>")
def artifact_info(task_id: str, run_id: int, name: str) -> Response:
    """Return what is known of an artifact."""
    caller().require(f"queue:list-artifacts:{task_id}:{run_id}")
    return reply(cluster().reading.load(task_id, run_id, name).to_json())


@routes.get("/task/<task_id>/artifact-info/<any_text:name>")
def latest_artifact_info(task_id: str, name: str) -> Response:
    """Return what is known of an artifact of the last run."""
    caller().require(f"queue:list-artifacts:{task_id}")
    return reply(cluster().reading.load(task_id, _latest(task_id), name).to_json())


def follow_latest(task_id: str, name: str) -> Artifact:
    """Return the readable artifact that a name of the last run leads to."""
    _permit(name)
    return _follow(task_id, _latest(task_id), name)


def lead_to(found: Artifact) -> Response:
    """Return the redirect to an artifact's bytes, or the reason why there are none."""
    if found.storage_type == "error":
        answer = Response(json.dumps(found.details), 424, mimetype="application/json")
    else:
        url = cluster().reading.url(found)
        answer = _redirect(url, {"storageType": found.storage_type, "url": url})
    answer.headers["x-taskcluster-artifact-storage-type"] = found.storage_type
    return answer


def _redirect(url: str, document: dict[str, Any]) -> Response:
    answer = redirect(url, 303)
    answer.data = json.dumps(document)
    answer.mimetype = "application/json"
    # Kept as it is: the URL may be wrong in the way the real queue's is.
    answer.autocorrect_location_header = False
    return answer  # type: ignore[return-value]  # Flask makes its own class of response


def _follow(task_id: str, run_id: int, name: str) -> Artifact:
    return cluster().reading.follow(task_id, run_id, name, _permit)


def _permit(name: str) -> None:
    caller().require(f"queue:get-artifact:{name}")


def _latest(task_id: str) -> int:
    runs = cluster().tasks.load(task_id).runs
    if not runs:
        raise ResourceNotFound("Task doesn't have any runs")
    return len(runs) - 1


def _list(task_id: str, run_id: int) -> Response:
    return reply(
        Page.of_query().list(
            "artifacts",
            lambda after, limit: cluster().artifacts.list(task_id, run_id, after, limit),
            lambda one: one.name,
            _list_entry,
        )
    )


def _list_entry(listed: Artifact) -> dict[str, Any]:
    if len(listed.name) > LONGEST_NAME:
        raise InternalServerError("Internal Server Error: the run has an artifact with too long a name")
    return listed.to_json()
