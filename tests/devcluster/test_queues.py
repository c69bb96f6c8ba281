"""What waits in which queue, what is claimed, and who claims."""

from typing import Any

import pytest
import requests
import taskcluster
from taskcluster.exceptions import TaskclusterRestFailure

from conformance import facts
from simulators.devcluster import WORKER, DevCluster, task_definition


@pytest.fixture
def busy(queue: Any, queue_id: str) -> list[str]:
    """A queue with a claimed task and two that wait."""
    task_ids = [taskcluster.slugId() for _ in range(3)]
    for task_id in task_ids:
        queue.createTask(task_id, task_definition(taskQueueId=queue_id))
    queue.claimWork(queue_id, {**WORKER, "tasks": 1})
    return task_ids


def test_waiting_and_claimed_runs_are_counted_and_listed(queue: Any, queue_id: str, busy: list[str]) -> None:
    counts = {"pendingTasks": 2, "claimedTasks": 1}
    names = dict(zip(("provisionerId", "workerType"), queue_id.split("/"), strict=True))
    assert queue.taskQueueCounts(queue_id) == {**names, "taskQueueId": queue_id, **counts}
    assert queue.taskQueueCountsBatch({"taskQueueIds": [queue_id]})["taskQueueCounts"][0]["pendingTasks"] == 2
    assert queue.pendingTasks(queue_id) == {**names, "taskQueueId": queue_id, "pendingTasks": 2}
    pages: list[dict[str, Any]] = []
    queue.listPendingTasks(queue_id, paginationHandler=pages.append, paginationLimit=1)
    assert [run["taskId"] for page in pages for run in page["tasks"]] == busy[1:]
    assert facts.faults(facts.TASK, pages[0]["tasks"][0]["task"]) == []
    claimed = queue.listClaimedTasks(queue_id)["tasks"]
    assert [(run["taskId"], run["runId"], run["workerId"]) for run in claimed] == [(busy[0], 0, "worker")]


def test_queues_are_found_under_all_their_names(queue: Any, queue_id: str, busy: list[str]) -> None:
    provisioner_id, worker_type = queue_id.split("/")
    found = queue.getTaskQueue(queue_id)
    assert found.keys() == {"taskQueueId", "description", "stability", "expires", "lastDateActive"}
    assert found in queue.listTaskQueues()["taskQueues"]
    assert queue.getWorkerType(provisioner_id, worker_type)["workerType"] == worker_type
    assert worker_type in {one["workerType"] for one in queue.listWorkerTypes(provisioner_id)["workerTypes"]}
    assert queue.getProvisioner(provisioner_id) in queue.listProvisioners()["provisioners"]
    for call in (queue.getTaskQueue, queue.getProvisioner):
        with pytest.raises(TaskclusterRestFailure) as error:
            call("none/none" if call == queue.getTaskQueue else "none")
        assert error.value.status_code == 404


def test_workers_are_listed_with_their_latest_task(queue: Any, queue_id: str, busy: list[str]) -> None:
    place = queue_id.split("/")
    (found,) = queue.listWorkers(*place)["workers"]
    assert found.keys() == {"workerGroup", "workerId", "firstClaim", "lastDateActive", "latestTask"}
    assert found["latestTask"] == {"taskId": busy[0], "runId": 0}
    worker = queue.getWorker(*place, "group", "worker")
    assert worker["recentTasks"] == [found["latestTask"]]
    assert worker["expires"] > worker["firstClaim"]
    queue.quarantineWorker(*place, "group", "worker", {"quarantineUntil": taskcluster.fromNowJSON("1 day")})
    assert queue.listWorkers(*place, query={"quarantined": "false"})["workers"] == []
    assert "quarantineUntil" in queue.listWorkers(*place, query={"quarantined": "true"})["workers"][0]
    queue.declareWorker(*place, "group", "other", {"expires": taskcluster.fromNowJSON("1 day")})
    assert len(queue.listWorkers(*place)["workers"]) == 2


@pytest.mark.parametrize("query", ["x=1", "limit=many", "limit=", "continuationToken=&limit=1", "quarantined=true"])
def test_a_query_that_a_call_does_not_take_is_refused(server: DevCluster, query: str) -> None:
    answer = requests.get(f"{server.root_url}/api/queue/v1/task-queues?{query}", timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidRequestArguments")


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_a_call_that_there_is_not_is_not_found(server: DevCluster, method: str) -> None:
    answer = requests.request(method, f"{server.root_url}/api/queue/v1/task/nothing/of/the/kind", timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (404, "ResourceNotFound")


def test_a_refusal_names_call_and_parameters(server: DevCluster) -> None:
    task_id = taskcluster.slugId()
    answer = requests.get(f"{server.root_url}/api/queue/v1/task/{task_id}/runs/0/artifacts", timeout=10).json()
    assert facts.faults(facts.ERROR, answer) == []
    assert answer["requestInfo"]["method"] == "listArtifacts"
    assert answer["requestInfo"]["params"]["taskId"] == task_id


@pytest.mark.parametrize("token", ["YWJj", "LTE=", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"])
def test_a_token_that_nobody_gave_out_leads_to_the_first_page(server: DevCluster, token: str, busy: list[str]) -> None:
    url = f"{server.root_url}/api/queue/v1/task-queues"
    answer = requests.get(url, {"continuationToken": token, "limit": "1"}, timeout=10)
    assert answer.json()["taskQueues"] == requests.get(url, {"limit": "1"}, timeout=10).json()["taskQueues"]
