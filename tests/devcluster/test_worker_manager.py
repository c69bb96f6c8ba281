"""Registering a static worker, and what worker-manager tells it."""

from typing import Any

import pytest
import taskcluster
from taskcluster.exceptions import TaskclusterRestFailure

from simulators.devcluster import DevCluster, task_definition

SECRET = "s" * 44
PROOF = {"staticSecret": SECRET}
POOL = {
    "providerId": "static",
    "description": "",
    "config": {"workerConfig": {"a": 1}},
    "owner": "o@x",
    "emailOnError": False,
}


@pytest.fixture
def manager(server: DevCluster) -> Any:
    return server.client(taskcluster.WorkerManager)


@pytest.fixture
def pool_id(manager: Any, queue_id: str) -> str:
    manager.createWorkerPool(queue_id, POOL)
    worker = {"expires": taskcluster.fromNowJSON("1 day"), "capacity": 1, "providerInfo": PROOF}
    manager.createWorker(queue_id, "g", "w", worker)
    manager.createWorker(queue_id, "g", "w", worker)
    return queue_id


def register(server: DevCluster, pool_id: str, **changes: Any) -> dict[str, Any]:
    wish = {
        "workerPoolId": pool_id, "providerId": "static", "workerGroup": "g", "workerId": "w",
        "workerIdentityProof": PROOF,
    }  # fmt: skip
    reply: dict[str, Any] = server.client(taskcluster.WorkerManager, {}).registerWorker({**wish, **changes})
    return reply


def test_registered_worker_can_claim_and_read_its_secrets(server: DevCluster, queue: Any, pool_id: str) -> None:
    told = register(server, pool_id)
    assert set(told) == {"credentials", "expires", "secret", "workerConfig"}
    assert told["workerConfig"] == {"a": 1}
    server.client(taskcluster.Secrets).set(
        f"worker-pool:{pool_id}", {"secret": {}, "expires": taskcluster.fromNowJSON("1 day")}
    )
    server.client(taskcluster.Secrets, told["credentials"]).get(f"worker-pool:{pool_id}")
    queue.createTask(taskcluster.slugId(), task_definition(taskQueueId=pool_id))
    worker = server.client(taskcluster.Queue, told["credentials"])
    assert worker.claimWork(pool_id, {"workerGroup": "g", "workerId": "w", "tasks": 1})["tasks"]
    with pytest.raises(TaskclusterRestFailure) as error:
        worker.claimWork(pool_id, {"workerGroup": "g", "workerId": "other", "tasks": 1})
    assert error.value.status_code == 403


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"workerIdentityProof": {"staticSecret": "x" * 44}}, 400),
        ({"workerIdentityProof": {}}, 400),
        ({"workerId": "other"}, 404),
        ({"workerPoolId": "no/pool"}, 404),
        ({"providerId": "google"}, 400),
        ({"workerPoolId": "pool"}, 400),
    ],
    ids=str,
)
def test_wrong_registration_is_refused(server: DevCluster, pool_id: str, changes: dict[str, Any], status: int) -> None:
    with pytest.raises(TaskclusterRestFailure) as error:
        register(server, pool_id, **changes)
    assert error.value.status_code == status


def test_secret_of_a_registration_is_good_for_one_renewal(server: DevCluster, pool_id: str) -> None:
    told = register(server, pool_id)
    who = {"workerPoolId": pool_id, "workerGroup": "g", "workerId": "w"}
    worker = server.client(taskcluster.WorkerManager, told["credentials"])
    renewed = worker.reregisterWorker({**who, "secret": told["secret"]})
    assert renewed["secret"] != told["secret"]
    with pytest.raises(TaskclusterRestFailure) as error:
        worker.reregisterWorker({**who, "secret": told["secret"]})
    assert "Could not generate credentials for this secret" in error.value.body["message"]
    again = server.client(taskcluster.WorkerManager, renewed["credentials"])
    assert again.reregisterWorker({**who, "secret": renewed["secret"]})["credentials"]


def test_worker_is_wanted_reports_errors_and_removes_itself(server: DevCluster, manager: Any, pool_id: str) -> None:
    worker = server.client(taskcluster.WorkerManager, register(server, pool_id)["credentials"])
    assert worker.shouldWorkerTerminate(pool_id, "g", "w") == {"terminate": False, "reason": "none"}
    error = {
        "workerGroup": "g", "workerId": "w", "kind": "worker-error", "title": "t", "description": "d",
        "extra": {"x": 1},
    }  # fmt: skip
    assert worker.reportWorkerError(pool_id, error)["kind"] == "worker-error"
    assert manager.listWorkerPoolErrors(pool_id)["workerPoolErrors"][0]["title"] == "t"
    with pytest.raises(TaskclusterRestFailure):
        worker.removeWorker(pool_id, "g", "other")
    worker.removeWorker(pool_id, "g", "w")
    assert manager.worker(pool_id, "g", "w")["state"] == "stopped"
    assert [each["workerId"] for each in manager.listWorkersForWorkerPool(pool_id)["workers"]] == ["w"]


def test_removed_worker_keeps_its_runs_and_may_still_claim(server: DevCluster, queue: Any, pool_id: str) -> None:
    credentials = register(server, pool_id)["credentials"]
    worker = server.client(taskcluster.Queue, credentials)
    wish = {"workerGroup": "g", "workerId": "w", "tasks": 1}
    first, second = taskcluster.slugId(), taskcluster.slugId()
    queue.createTask(first, task_definition(taskQueueId=pool_id))
    worker.claimWork(pool_id, wish)
    server.client(taskcluster.WorkerManager, credentials).removeWorker(pool_id, "g", "w")
    assert queue.status(first)["status"]["state"] == "running"
    queue.createTask(second, task_definition(taskQueueId=pool_id))
    assert worker.claimWork(pool_id, wish)["tasks"]


def test_pool_is_changed_and_listed(manager: Any, pool_id: str) -> None:
    manager.updateWorkerPool(pool_id, {**POOL, "description": "new"})
    assert manager.workerPool(pool_id)["description"] == "new"
    assert pool_id in [each["workerPoolId"] for each in manager.listWorkerPools()["workerPools"]]
    with pytest.raises(TaskclusterRestFailure) as error:
        manager.createWorkerPool(pool_id, POOL)
    assert error.value.status_code == 409
    with pytest.raises(TaskclusterRestFailure) as error:
        manager.updateWorkerPool("no/pool", POOL)
    assert error.value.status_code == 404


@pytest.mark.parametrize("secret", ["short", 5, None])
def test_static_secret_has_44_characters(manager: Any, pool_id: str, secret: Any) -> None:
    worker = {"expires": taskcluster.fromNowJSON("1 day"), "providerInfo": {"staticSecret": secret}}
    with pytest.raises(TaskclusterRestFailure) as error:
        manager.createWorker(pool_id, "g", "x", worker)
    assert error.value.status_code == 400


def test_pools_count_their_workers(manager: Any, pool_id: str) -> None:
    manager.createWorker(pool_id, "g", "x", {"expires": taskcluster.fromNowJSON("1 day"), "capacity": 3,
                                             "providerInfo": PROOF})  # fmt: skip
    manager.removeWorker(pool_id, "g", "x")
    pool = manager.workerPool(pool_id)
    assert (pool["currentCapacity"], pool["runningCount"], pool["stoppedCapacity"]) == (1, 1, 3)
    stats = {one.pop("workerPoolId"): one for one in manager.listWorkerPoolsStats()["workerPoolsStats"]}
    assert stats[pool_id].items() <= pool.items()
    assert manager.workerPoolStats(pool_id) == {"launchConfigStats": []}
    assert manager.listWorkerPoolLaunchConfigs(pool_id) == {"workerPoolLaunchConfigs": []}
    assert [one["workerId"] for one in manager.listWorkersForWorkerGroup(pool_id, "g")["workers"]] == ["w", "x"]
    stopped = manager.listWorkersForWorkerPool(pool_id, query={"state": "stopped"})["workers"]
    assert [one["workerId"] for one in stopped] == ["x"]
    assert manager.listProviders()["providers"] == [{"providerId": "static", "providerType": "static"}]


def test_announced_worker_can_be_changed(server: DevCluster, manager: Any, pool_id: str) -> None:
    other = "o" * 44
    change = {"expires": taskcluster.fromNowJSON("1 day"), "capacity": 7, "providerInfo": {"staticSecret": other}}
    assert manager.updateWorker(pool_id, "g", "w", change)["capacity"] == 7
    with pytest.raises(TaskclusterRestFailure):
        register(server, pool_id)
    assert register(server, pool_id, workerIdentityProof={"staticSecret": other})["credentials"]


def test_given_up_pool_is_gone(server: DevCluster, manager: Any, pool_id: str) -> None:
    assert manager.deleteWorkerPool(pool_id)["providerId"] == "null-provider"
    for call in (manager.workerPool, manager.deleteWorkerPool):
        with pytest.raises(TaskclusterRestFailure) as error:
            call(pool_id)
        assert error.value.status_code == 404
    with pytest.raises(TaskclusterRestFailure):
        register(server, pool_id)


def test_errors_are_counted(manager: Any, pool_id: str) -> None:
    report = {"workerGroup": "g", "workerId": "w", "kind": "k", "title": "T", "description": "d", "extra": {}}
    manager.reportWorkerError(pool_id, report)
    manager.reportWorkerError(pool_id, report)
    totals = manager.workerPoolErrorStats(query={"workerPoolId": pool_id})["totals"]
    assert (totals["total"], totals["title"], totals["workerPool"]) == (2, {"T": 2}, {pool_id: 2})
