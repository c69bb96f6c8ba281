"""Finding tasks and their artifacts by path."""

from typing import Any

import pytest
import requests
import taskcluster
from taskcluster.exceptions import TaskclusterRestFailure

from simulators.devcluster import WORKER, DevCluster, task_definition
from taskward.devcluster.identifiers import new_slug


@pytest.fixture
def index(server: DevCluster) -> Any:
    return server.client(taskcluster.Index)


@pytest.fixture
def place(queue_id: str) -> str:
    return queue_id.replace("/", ".")


def complete(queue: Any, queue_id: str, place: str, **changes: Any) -> str:
    task_id = new_slug()
    queue.createTask(task_id, task_definition(taskQueueId=queue_id, routes=[f"index.{place}", "other.x"], **changes))
    queue.claimWork(queue_id, {**WORKER, "tasks": 1})
    queue.reportCompleted(task_id, 0)
    return task_id


def test_completed_task_is_found_by_its_route(queue: Any, index: Any, queue_id: str, place: str) -> None:
    task_id = complete(queue, queue_id, place)
    found = index.findTask(place)
    assert (found["taskId"], found["rank"], found["data"]) == (task_id, 0, {})


def test_failed_task_is_not_indexed(queue: Any, index: Any, queue_id: str, place: str) -> None:
    task_id = new_slug()
    queue.createTask(task_id, task_definition(taskQueueId=queue_id, routes=[f"index.{place}"]))
    queue.claimWork(queue_id, {**WORKER, "tasks": 1})
    queue.reportFailed(task_id, 0)
    with pytest.raises(TaskclusterRestFailure) as error:
        index.findTask(place)
    assert error.value.status_code == 404


def test_higher_rank_stays(queue: Any, index: Any, queue_id: str, place: str) -> None:
    extra = {"index": {"rank": 5, "data": {"a": 1}, "expires": taskcluster.fromNowJSON("1 day")}}
    high = complete(queue, queue_id, place, extra=extra)
    complete(queue, queue_id, place, extra={"index": {"rank": 4}})
    assert index.findTask(place)["taskId"] == high
    assert index.findTask(place)["data"] == {"a": 1}
    later = complete(queue, queue_id, place, extra=extra)
    assert index.findTask(place)["taskId"] == later


def test_a_wish_that_is_no_table_is_ignored(queue: Any, index: Any, queue_id: str, place: str) -> None:
    task_id = complete(queue, queue_id, place, extra={"index": 5})
    assert index.findTask(place)["taskId"] == task_id


@pytest.mark.parametrize("wish", [{"rank": "x"}, {"rank": True}, {"data": []}, {"data": None}, {"expires": "never"}])
def test_a_senseless_wish_keeps_a_task_out_of_the_index(
    queue: Any, index: Any, queue_id: str, place: str, wish: Any
) -> None:
    complete(queue, queue_id, place, extra={"index": wish})
    with pytest.raises(TaskclusterRestFailure) as error:
        index.findTask(place)
    assert error.value.status_code == 404


def test_several_paths_are_looked_up_at_once(index: Any, place: str) -> None:
    entry = {"taskId": new_slug(), "rank": 1, "data": {}, "expires": taskcluster.fromNowJSON("1 day")}
    for name in ("a", "b"):
        index.insertTask(f"{place}.{name}", entry)
    found = index.findTasksAtIndex({"indexes": [f"{place}.b", f"{place}.none", f"{place}.a"]})["tasks"]
    assert [one["namespace"] for one in found] == [f"{place}.a", f"{place}.b"]


@pytest.mark.parametrize("call", ["findTask", "listTasks", "listNamespaces", "deleteTask"])
def test_what_is_no_path_is_never_looked_up(index: Any, call: str) -> None:
    with pytest.raises(TaskclusterRestFailure) as error:
        getattr(index, call)("a..b")
    assert (error.value.status_code, error.value.body["code"]) == (400, "InvalidRequestArguments")


@pytest.mark.parametrize("call", ["findTask", "listTasks", "listNamespaces", "deleteTask"])
def test_a_path_with_a_slash_is_malformed_and_not_another_call(index: Any, call: str) -> None:
    with pytest.raises(TaskclusterRestFailure) as error:
        getattr(index, call)("a/b")
    assert (error.value.status_code, error.value.body["code"]) == (400, "InvalidRequestArguments")
    assert error.value.body["requestInfo"]["method"] == call
    assert "given as 'a/b' must match" in error.value.body["message"]
    assert requests.get(index.buildUrl("findTask", "x").replace("x", "a/b"), timeout=10).status_code == 404


def test_tasks_are_put_listed_and_removed_by_hand(index: Any, place: str) -> None:
    entry = {
        "taskId": new_slug(), "rank": 1, "data": {}, "expires": taskcluster.fromNowJSON("1 day"),
    }  # fmt: skip
    for path in ("a.one", "a.two", "b.three", "top"):
        index.insertTask(f"{place}.{path}", entry)
    assert [each["name"] for each in index.listNamespaces(place)["namespaces"]] == ["a", "b"]
    assert [each["namespace"] for each in index.listTasks(place)["tasks"]] == [f"{place}.top"]
    pages: list[dict[str, Any]] = []
    index.listTasks(f"{place}.a", paginationHandler=pages.append, paginationLimit=1)
    assert [each["namespace"][-3:] for page in pages for each in page["tasks"]] == ["one", "two"]
    index.deleteTask(f"{place}.top")
    with pytest.raises(TaskclusterRestFailure):
        index.findTask(f"{place}.top")


@pytest.mark.parametrize("namespace", ["a..b", ".a", "a.", "a b", "x" * 256])
def test_malformed_path_is_refused(index: Any, namespace: str) -> None:
    entry = {
        "taskId": new_slug(), "rank": 1, "data": {}, "expires": taskcluster.fromNowJSON("1 day"),
    }  # fmt: skip
    with pytest.raises(TaskclusterRestFailure) as error:
        index.insertTask(namespace, entry)
    assert error.value.status_code == 400


def test_artifact_is_found_by_the_path_of_its_task(
    queue: Any, index: Any, task_queue: Any, claim: dict[str, Any], place: str
) -> None:
    task_id = claim["status"]["taskId"]
    expires = taskcluster.fromNowJSON("1 day")
    made = task_queue.createArtifact(
        task_id, 0, "public/x", {"storageType": "s3", "contentType": "a/b", "expires": expires}
    )
    requests.put(made["putUrl"], data=b"content", timeout=10)
    index.insertTask(place, {"taskId": task_id, "rank": 0, "data": {}, "expires": expires})
    assert requests.get(index.buildUrl("findArtifactFromTask", place, "public/x"), timeout=10).content == b"content"
    assert requests.get(index.buildUrl("findArtifactFromTask", place, "private/x"), timeout=10).status_code == 403
