"""What the development cluster answers to calls that are not a worker's own, against the schemas of those answers.

The schemas are in `services/queue/schemas/v1/` and `services/worker-manager/schemas/v1/`, under the names that stand
beside each call.
"""

from collections.abc import Callable
from typing import Any

import pytest
import taskcluster

from conformance.facts import ANY, ARTIFACT, SLUG, STATUS, TASK, TIME, Schema, choice, each, faults, number, table, text
from simulators.devcluster import WORKER, DevCluster, task_definition

QUEUE_ID = "proj-answers/ci"
POOL_ID = "proj-answers/pool"
_COUNT = number(0, 2**31)
_NAME = text("[a-zA-Z0-9_-]{1,38}")
_SPLIT = {"provisionerId": _NAME, "workerType": _NAME}
_PRIORITY = choice("highest", "very-high", "high", "medium", "low", "very-low", "lowest")
_RUN = table({"taskId": text(SLUG), "runId": number(0, 1000)})
_COUNTS = table({**_SPLIT, "taskQueueId": text(), "pendingTasks": _COUNT, "claimedTasks": _COUNT})
_GROUP = table({"taskGroupId": text(SLUG), "expires": TIME, "schedulerId": _NAME}, {"sealed": TIME})
_QUEUE = {
    "stability": choice("experimental", "stable", "deprecated"), "description": text(), "expires": TIME,
    "lastDateActive": TIME,
}  # fmt: skip
_STATES = ("requested", "running", "stopping", "stopped")
_POOL_COUNTS = {
    "currentCapacity": _COUNT, **{f"{state}{what}": _COUNT for state in _STATES for what in ("Count", "Capacity")},
}  # fmt: skip
_PAGED = {"continuationToken": text()}

#: Name of the schema, the schema, and what is asked of queue `q` about the task `t`.
_QUEUE_ANSWERS: list[tuple[str, Schema, Callable[[Any, str], Any]]] = [
    ("task-group-response", _GROUP, lambda q, t: q.getTaskGroup(t)),
    ("tasks-response", table({"tasks": each(table({"taskId": text(SLUG), "task": TASK}))}, _PAGED),
     lambda q, t: q.tasks({"taskIds": [t]})),
    ("tasks-statuses-response", table({"statuses": each(table({"taskId": text(SLUG), "status": STATUS}))}, _PAGED),
     lambda q, t: q.statuses({"taskIds": [t]})),
    ("list-dependent-tasks-response",
     table({"taskId": text(SLUG), "tasks": each(table({"status": STATUS, "task": TASK}))}, _PAGED),
     lambda q, t: q.listDependentTasks(t)),
    ("list-claimed-tasks-response",
     table({"tasks": each(table({"taskId": text(SLUG), "runId": number(0, 1000), "workerGroup": _NAME,
                                 "workerId": _NAME, "claimed": TIME, "task": TASK}))}, _PAGED),
     lambda q, t: q.listClaimedTasks(QUEUE_ID)),
    ("list-pending-tasks-response",
     table({"tasks": each(table({"taskId": text(SLUG), "runId": number(0, 1000), "inserted": TIME, "task": TASK}))},
           _PAGED),
     lambda q, t: q.listPendingTasks(QUEUE_ID)),
    ("task-queue-counts-response", _COUNTS, lambda q, t: q.taskQueueCounts(QUEUE_ID)),
    ("task-queue-counts-list-response", table({"taskQueueCounts": each(_COUNTS)}),
     lambda q, t: q.taskQueueCountsBatch({"taskQueueIds": [QUEUE_ID]})),
    ("pending-tasks-response", table({**_SPLIT, "taskQueueId": text(), "pendingTasks": _COUNT}),
     lambda q, t: q.pendingTasks(QUEUE_ID)),
    ("taskqueue-response", table({"taskQueueId": text(), **_QUEUE}), lambda q, t: q.getTaskQueue(QUEUE_ID)),
    ("list-workers-response",
     table({"workers": each(table({"workerGroup": _NAME, "workerId": _NAME, "firstClaim": TIME},
                                  {"lastDateActive": TIME, "latestTask": _RUN, "quarantineUntil": TIME}))}, _PAGED),
     lambda q, t: q.listWorkers(*QUEUE_ID.split("/"))),
    ("worker-response",
     table({**_SPLIT, "workerGroup": _NAME, "workerId": _NAME, "recentTasks": each(_RUN, 20), "expires": TIME,
            "firstClaim": TIME, "actions": each(ANY)}, {"lastDateActive": TIME, "quarantineUntil": TIME}),
     lambda q, t: q.getWorker(*QUEUE_ID.split("/"), "group", "worker")),
    ("artifact-response", ARTIFACT, lambda q, t: q.artifactInfo(t, 0, "public/x")),
    ("list-artifacts-response", table({"artifacts": each(ARTIFACT)}, _PAGED), lambda q, t: q.listLatestArtifacts(t)),
    ("artifact-content-response", table({"storageType": choice("s3"), "url": text()}),
     lambda q, t: q.latestArtifact(t, "public/x")),
    ("task-group-priority-change-response",
     table({"taskGroupId": text(SLUG), "schedulerId": _NAME, "newPriority": _PRIORITY, "tasksAffected": _COUNT,
            "taskIds": each(text(SLUG))}), lambda q, t: q.changeTaskGroupPriority(t, {"newPriority": "low"})),
    ("task-group-response", _GROUP, lambda q, t: q.sealTaskGroup(t)),
    ("cancel-task-group-response",
     table({"taskGroupId": text(SLUG), "taskGroupSize": _COUNT, "cancelledCount": _COUNT, "taskIds": each(text(SLUG))}),
     lambda q, t: q.cancelTaskGroup(t)),
]  # fmt: skip

_POOL = table(
    {
        "providerId": _NAME, "description": text(), "created": TIME, "lastModified": TIME, "config": ANY,
        "owner": text(), "emailOnError": {"type": "boolean"}, **_POOL_COUNTS,
    },
    {"workerPoolId": text()},
)  # fmt: skip
_WORKER = table(
    {
        "workerPoolId": text(), "workerGroup": _NAME, "workerId": _NAME, "providerId": _NAME, "created": TIME,
        "expires": TIME, "lastModified": TIME, "lastChecked": TIME, "state": choice(*_STATES),
        "capacity": number(1, 2**31),
    }
)  # fmt: skip
_ERRORS = table({"total": _COUNT, "daily": ANY, "hourly": ANY, "title": ANY, "code": ANY}, {"workerPool": ANY})
_MANAGER_ANSWERS: list[tuple[str, Schema, Callable[[Any], Any]]] = [
    ("worker-pool-full", _POOL, lambda m: m.workerPool(POOL_ID)),
    ("worker-pool-list", table({"workerPools": each(_POOL)}, _PAGED), lambda m: m.listWorkerPools()),
    ("worker-pool-list-stats",
     table({"workerPoolsStats": each(table({"workerPoolId": text(), **_POOL_COUNTS}))}, _PAGED),
     lambda m: m.listWorkerPoolsStats()),
    ("worker-full", _WORKER, lambda m: m.worker(POOL_ID, "g", "w")),
    ("worker-list", table({"workers": each(_WORKER)}, _PAGED), lambda m: m.listWorkersForWorkerPool(POOL_ID)),
    ("provider-list", table({"providers": each(table({"providerId": text(), "providerType": text()}))}),
     lambda m: m.listProviders()),
    ("worker-pool-error-stats", table({"workerPoolId": text(), "totals": _ERRORS}), lambda m: m.workerPoolErrorStats()),
    ("register-worker-response",
     table({"expires": TIME, "workerConfig": ANY, "secret": text("[a-zA-Z0-9_-]{44}"),
            "credentials": table({"accessToken": text(), "clientId": text()}, {"certificate": text()})}),
     lambda m: m.registerWorker({"workerPoolId": POOL_ID, "providerId": "static", "workerGroup": "g", "workerId": "w",
                                 "workerIdentityProof": {"staticSecret": "s" * 44}})),
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with DevCluster.start(tmp_path_factory.mktemp("devcluster"), claim_wait_s=1) as server:
        yield server


def test_every_answer_of_the_queue_has_its_form(server: DevCluster) -> None:
    queue, task_id = server.client(taskcluster.Queue), taskcluster.slugId()
    queue.createTask(task_id, task_definition(taskQueueId=QUEUE_ID))
    queue.createTask(taskcluster.slugId(), task_definition(taskQueueId=QUEUE_ID))
    dependent = task_definition(taskQueueId=QUEUE_ID, dependencies=[task_id])
    queue.createTask(taskcluster.slugId(), dependent)
    queue.claimWork(QUEUE_ID, {**WORKER, "tasks": 1})
    artifact = {"storageType": "s3", "contentType": "x/y", "expires": taskcluster.fromNowJSON("1 hour")}
    queue.createArtifact(task_id, 0, "public/x", {**artifact, "contentLength": 5})
    wrong = {name: found for name, schema, ask in _QUEUE_ANSWERS if (found := faults(schema, ask(queue, task_id)))}
    assert wrong == {}


def test_every_answer_of_worker_manager_has_its_form(server: DevCluster) -> None:
    manager = server.client(taskcluster.WorkerManager)
    pool = {"providerId": "static", "description": "", "config": {}, "owner": "o@example.com", "emailOnError": False}
    manager.createWorkerPool(POOL_ID, pool)
    announced = {"expires": taskcluster.fromNowJSON("1 day"), "providerInfo": {"staticSecret": "s" * 44}}
    manager.createWorker(POOL_ID, "g", "w", announced)
    wrong = {name: found for name, schema, ask in _MANAGER_ANSWERS if (found := faults(schema, ask(manager)))}
    assert wrong == {}
