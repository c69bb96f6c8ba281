"""Claiming work, with the plain client and with a clock moved by hand."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mohawk
import pytest
import taskcluster
from taskcluster.exceptions import TaskclusterRestFailure

from devcluster.steps import claimed_ids, create
from simulators.devcluster import WORKER, DevCluster
from taskward.devcluster.clock import parse_instant
from taskward.devcluster.identifiers import new_slug


def test_claim_holds_all_that_a_worker_needs(claim: dict[str, Any], queue_id: str) -> None:
    task_id = claim["status"]["taskId"]
    assert set(claim) == {
        "credentials", "runId", "status", "takenUntil", "task", "workerGroup", "workerId",
    }  # fmt: skip
    assert claim["task"]["payload"]["maxRunTime"] == 60
    assert "taskId" not in claim["task"]
    assert claim["status"]["runs"][0]["state"] == "running"
    assert claim["takenUntil"].endswith("+00:00")
    assert claim["status"]["runs"][0]["takenUntil"].endswith("Z")
    assert parse_instant(claim["takenUntil"]) == parse_instant(claim["status"]["runs"][0]["takenUntil"])
    client_id = claim["credentials"]["clientId"]
    assert client_id.startswith(f"task-client/{task_id}/0/on/group/worker/until/")
    assert isinstance(claim["credentials"]["certificate"], str)


def test_claim_takes_what_there_is_and_does_not_wait_to_fill_up(queue: Any, queue_id: str) -> None:
    for _ in range(5):
        create(queue, queue_id)
    begin = time.monotonic()
    assert len(claimed_ids(queue, queue_id, 3)) == 3
    assert len(claimed_ids(queue, queue_id, 10)) == 2
    assert time.monotonic() - begin < 1


def test_higher_priority_is_claimed_first_then_the_older(queue: Any, queue_id: str) -> None:
    low, high, low_too = (create(queue, queue_id, priority=each) for each in ("low", "highest", "low"))
    assert claimed_ids(queue, queue_id, 3) == [high, low, low_too]


def test_priority_can_be_changed_while_a_task_waits(queue: Any, queue_id: str) -> None:
    first, second = create(queue, queue_id), create(queue, queue_id)
    queue.changeTaskPriority(second, {"newPriority": "high"})
    assert claimed_ids(queue, queue_id) == [second]
    assert queue.task(first)["priority"] == "lowest"


def test_empty_queue_blocks_and_answers_with_nothing(queue: Any, queue_id: str) -> None:
    begin = time.monotonic()
    assert claimed_ids(queue, queue_id) == []
    assert 1.9 < time.monotonic() - begin < 4


def test_waiting_worker_gets_a_new_task_at_once(queue: Any, queue_id: str) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(claimed_ids, queue, queue_id)
        time.sleep(0.3)
        task_id = create(queue, queue_id)
        begin = time.monotonic()
        assert waiting.result() == [task_id]
        assert time.monotonic() - begin < 1


def test_many_workers_never_get_the_same_run(server: DevCluster, queue: Any, queue_id: str) -> None:
    tasks = [create(queue, queue_id) for _ in range(30)]

    def work(number: int) -> list[str]:
        worker = {"workerGroup": "g", "workerId": f"w{number}", "tasks": 2}
        found: list[str] = []
        while got := server.client(taskcluster.Queue).claimWork(queue_id, worker)["tasks"]:
            found += [claim["status"]["taskId"] for claim in got]
        return found

    with ThreadPoolExecutor(6) as pool:
        everything = [task_id for found in pool.map(work, range(6)) for task_id in found]
    assert sorted(everything) == sorted(tasks)


def test_dropped_connection_loses_no_task(server: DevCluster, queue: Any, queue_id: str) -> None:
    host, port = server.root_url.removeprefix("http://").split(":")
    url = f"{server.root_url}/api/queue/v1/claim-work/{queue_id.replace('/', '%2F')}"
    content = '{"workerGroup":"g","workerId":"gone","tasks":1}'
    credentials = {"id": server.client_id, "key": server.access_token, "algorithm": "sha256"}
    sender: Any = mohawk.Sender
    header = sender(credentials, url, "POST", content, "application/json").request_header
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST {url.removeprefix(server.root_url)} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: {header}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n{content}".encode()
        )
        time.sleep(0.3)
    time.sleep(0.1)
    task_id = create(queue, queue_id)
    assert claimed_ids(queue, queue_id) == [task_id]


@pytest.mark.parametrize(
    "wish",
    [
        {**WORKER, "tasks": 0},
        {**WORKER, "tasks": 33},
        {"workerGroup": "a.b", "workerId": "w", "tasks": 1},
        {"workerGroup": "g", "workerId": "w" * 39, "tasks": 1},
        {"workerGroup": "g"},
    ],
    ids=str,
)
def test_malformed_claim_is_refused(queue: Any, queue_id: str, wish: dict[str, Any]) -> None:
    with pytest.raises(TaskclusterRestFailure) as error:
        queue.claimWork(queue_id, wish)
    assert (error.value.status_code, error.value.body["code"]) == (400, "InputValidationError")


@pytest.mark.parametrize("missing", [0, 1])
def test_claiming_needs_the_scopes_of_queue_and_worker(server: DevCluster, missing: int, queue_id: str) -> None:
    scopes = [f"queue:claim-work:{queue_id}", "queue:worker-id:group/worker"]
    del scopes[missing]
    queue = server.client(taskcluster.Queue, authorizedScopes=scopes)
    with pytest.raises(TaskclusterRestFailure) as error:
        claimed_ids(queue, queue_id)
    assert (error.value.status_code, error.value.body["code"]) == (403, "InsufficientScopes")


def test_a_seen_worker_in_quarantine_waits_and_gets_nothing(queue: Any, queue_id: str) -> None:
    provisioner_id, worker_type = queue_id.split("/")
    key = (provisioner_id, worker_type, "group", "worker")
    until = {"quarantineUntil": taskcluster.fromNowJSON("1 day"), "quarantineInfo": "bad disk"}
    with pytest.raises(TaskclusterRestFailure, match="ResourceNotFound"):
        queue.quarantineWorker(*key, until)
    claimed = create(queue, queue_id)
    assert claimed_ids(queue, queue_id) == [claimed]
    queue.quarantineWorker(*key, until)
    task_id = create(queue, queue_id)
    assert claimed_ids(queue, queue_id) == []
    assert queue.listWorkers(provisioner_id, worker_type, query={"quarantined": "true"})["workers"]
    queue.quarantineWorker(*key, {"quarantineUntil": taskcluster.fromNowJSON("-1 day")})
    assert claimed_ids(queue, queue_id) == [task_id]
    assert queue.getWorker(*key)["recentTasks"] == [
        {"taskId": claimed, "runId": 0},
        {"taskId": task_id, "runId": 0},
    ]


def test_pending_tasks_are_counted(queue: Any, queue_id: str) -> None:
    create(queue, queue_id)
    create(queue, queue_id)
    claimed_ids(queue, queue_id)
    assert queue.pendingTasks(queue_id)["pendingTasks"] == 1
    counts = queue.taskQueueCounts(queue_id)
    assert (counts["pendingTasks"], counts["claimedTasks"]) == (1, 1)
    assert queue_id in {entry["taskQueueId"] for entry in queue.listTaskQueues()["taskQueues"]}


def test_claim_task_takes_a_pending_run_but_never_a_running_one(queue: Any, queue_id: str) -> None:
    task_id = create(queue, queue_id)
    assert queue.claimTask(task_id, 0, WORKER)["status"]["state"] == "running"
    with pytest.raises(TaskclusterRestFailure) as error:
        queue.claimTask(task_id, 0, WORKER)
    assert error.value.status_code == 409


def test_reclaim_gives_new_credentials_and_the_old_ones_go_on_working(
    server: DevCluster, task_queue: Any, claim: dict[str, Any]
) -> None:
    task_id = claim["status"]["taskId"]
    again = task_queue.reclaimTask(task_id, 0)
    assert "task" not in again
    assert again["takenUntil"].endswith("Z")
    assert again["credentials"]["clientId"] != claim["credentials"]["clientId"]
    assert again["credentials"]["accessToken"] != claim["credentials"]["accessToken"]
    task_queue.reclaimTask(task_id, 0)
    newest = server.client(taskcluster.Queue, again["credentials"])
    assert newest.reportCompleted(task_id, 0)["status"]["state"] == "completed"


def test_worker_credentials_cannot_touch_a_run(server: DevCluster, claim: dict[str, Any], queue_id: str) -> None:
    task_id = claim["status"]["taskId"]
    scopes = [f"queue:claim-work:{queue_id}", "queue:worker-id:group/worker"]
    worker = server.client(taskcluster.Queue, authorizedScopes=scopes)
    for call in (worker.reclaimTask, worker.reportCompleted, worker.reportFailed):
        with pytest.raises(TaskclusterRestFailure) as error:
            call(task_id, 0)
        assert error.value.status_code == 403


def test_credentials_of_one_run_do_nothing_for_another(task_queue: Any, claim: dict[str, Any]) -> None:
    for task_id, run_id in ((claim["status"]["taskId"], 1), (new_slug(), 0)):
        with pytest.raises(TaskclusterRestFailure) as error:
            task_queue.reclaimTask(task_id, run_id)
        assert error.value.status_code == 403


def test_reclaiming_an_unknown_run_is_not_found(queue: Any, claim: dict[str, Any]) -> None:
    for run_id in (1, 10**30):
        with pytest.raises(TaskclusterRestFailure) as error:
            queue.reclaimTask(claim["status"]["taskId"], run_id)
        assert error.value.status_code == 404


def test_long_polls_do_not_hold_up_other_calls(server: DevCluster, queue: Any, queue_id: str) -> None:
    stop = threading.Event()

    def poll(number: int) -> None:
        client = server.client(taskcluster.Queue)
        while not stop.is_set():
            client.claimWork(f"{queue_id}-{number}", {**WORKER, "tasks": 1})

    with ThreadPoolExecutor(40) as pool:
        for number in range(40):
            pool.submit(poll, number)
        time.sleep(0.5)
        begin = time.monotonic()
        create(queue, queue_id)
        took = time.monotonic() - begin
        stop.set()
    assert took < 1
