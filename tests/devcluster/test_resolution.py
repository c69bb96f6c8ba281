"""How runs end, and what follows: the table of reports, retries, dependents."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import taskcluster
from taskcluster.exceptions import TaskclusterRestFailure

from simulators.devcluster import WORKER, DevCluster, task_definition
from taskward.devcluster.identifiers import new_slug


def report(client: Any, task_id: str, how: str, run_id: int = 0) -> dict[str, Any]:
    """Report a run; ``how`` is completed, failed or a reason of an exception."""
    if how in ("completed", "failed"):
        status = getattr(client, f"report{how.title()}")(task_id, run_id)["status"]
    else:
        status = client.reportException(task_id, run_id, {"reason": how})["status"]
    found: dict[str, Any] = status
    return found


def start(queue: Any, queue_id: str, **changes: Any) -> str:
    task_id = new_slug()
    queue.createTask(task_id, task_definition(taskQueueId=queue_id, **changes))
    return task_id


def take(queue: Any, queue_id: str) -> str:
    claimed: str = queue.claimWork(queue_id, {**WORKER, "tasks": 1})["tasks"][0]["status"]["taskId"]
    return claimed


@pytest.mark.parametrize("how", ["completed", "failed", "malformed-payload", "resource-unavailable", "internal-error"])
def test_report_may_be_repeated(task_queue: Any, claim: dict[str, Any], how: str) -> None:
    task_id = claim["status"]["taskId"]
    first = report(task_queue, task_id, how)
    assert report(task_queue, task_id, how) == first
    assert len(first["runs"]) == 1
    assert first["state"] == (how if how in ("completed", "failed") else "exception")
    assert first["runs"][0]["reasonResolved"] == how


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("completed", "failed"),
        ("failed", "completed"),
        ("completed", "internal-error"),
        ("failed", "worker-shutdown"),
        ("internal-error", "completed"),
        ("internal-error", "malformed-payload"),
        ("worker-shutdown", "completed"),
    ],
)
def test_other_report_afterwards_is_a_conflict(task_queue: Any, claim: dict[str, Any], first: str, second: str) -> None:
    task_id = claim["status"]["taskId"]
    report(task_queue, task_id, first)
    with pytest.raises(TaskclusterRestFailure) as error:
        report(task_queue, task_id, second)
    assert error.value.status_code == 409


@pytest.mark.parametrize("how", ["completed", "failed", "worker-shutdown", "internal-error"])
def test_resolved_run_cannot_be_reclaimed(task_queue: Any, claim: dict[str, Any], how: str) -> None:
    report(task_queue, claim["status"]["taskId"], how)
    with pytest.raises(TaskclusterRestFailure) as error:
        task_queue.reclaimTask(claim["status"]["taskId"], 0)
    assert error.value.status_code == 409
    assert "is resolved or not running" in error.value.body["message"]


@pytest.mark.parametrize(("reason", "created"), [("worker-shutdown", "retry"), ("intermittent-task", "task-retry")])
def test_some_exceptions_make_one_new_run(task_queue: Any, claim: dict[str, Any], reason: str, created: str) -> None:
    task_id = claim["status"]["taskId"]
    report(task_queue, task_id, reason)
    status = report(task_queue, task_id, reason)
    assert [run["state"] for run in status["runs"]] == ["exception", "pending"]
    assert status["runs"][1]["reasonCreated"] == created
    assert status["retriesLeft"] == 4


def test_retries_come_to_an_end(queue: Any, queue_id: str) -> None:
    task_id = start(queue, queue_id, retries=1)
    for run_id in (0, 1):
        assert take(queue, queue_id) == task_id
        status = report(queue, task_id, "worker-shutdown", run_id)
    assert status["state"] == "exception"
    assert len(status["runs"]) == 2


@pytest.mark.parametrize("reason", ["superseded", "canceled", "claim-expired", "deadline-exceeded", ""])
def test_worker_may_not_give_other_reasons(task_queue: Any, claim: dict[str, Any], reason: str) -> None:
    with pytest.raises(TaskclusterRestFailure) as error:
        report(task_queue, claim["status"]["taskId"], reason)
    assert error.value.status_code == 400


def test_canceled_run_is_learnt_by_conflict(queue: Any, task_queue: Any, claim: dict[str, Any]) -> None:
    task_id = claim["status"]["taskId"]
    status = queue.cancelTask(task_id)["status"]
    assert status["runs"][0]["reasonResolved"] == "canceled"
    assert queue.cancelTask(task_id)["status"] == status
    for how in ("completed", "failed", "worker-shutdown"):
        with pytest.raises(TaskclusterRestFailure) as error:
            report(task_queue, task_id, how)
        assert error.value.status_code == 409
    with pytest.raises(TaskclusterRestFailure):
        task_queue.reclaimTask(task_id, 0)


def test_canceled_task_is_not_claimed(queue: Any, queue_id: str) -> None:
    canceled, other = start(queue, queue_id), start(queue, queue_id)
    queue.cancelTask(canceled)
    assert take(queue, queue_id) == other


def test_rerun_makes_a_run_and_gives_back_the_retries(queue: Any, queue_id: str) -> None:
    task_id = start(queue, queue_id)
    take(queue, queue_id)
    report(queue, task_id, "worker-shutdown")
    take(queue, queue_id)
    report(queue, task_id, "completed", 1)
    status = queue.rerunTask(task_id)["status"]
    assert (status["runs"][2]["reasonCreated"], status["retriesLeft"]) == ("rerun", 5)
    assert queue.rerunTask(task_id)["status"] == status
    assert take(queue, queue_id) == task_id


@pytest.mark.parametrize(
    ("requires", "how", "state"),
    [
        ("all-completed", "completed", "pending"),
        ("all-completed", "failed", "unscheduled"),
        ("all-completed", "internal-error", "unscheduled"),
        ("all-resolved", "failed", "pending"),
        ("all-resolved", "internal-error", "pending"),
    ],
)
def test_dependent_becomes_pending_by_what_it_requires(
    queue: Any, queue_id: str, requires: str, how: str, state: str
) -> None:
    first, second = start(queue, queue_id), start(queue, queue_id)
    last = start(queue, queue_id, dependencies=[first, second], requires=requires)
    assert queue.status(last)["status"]["state"] == "unscheduled"
    for task_id in (first, second):
        take(queue, queue_id)
        assert queue.status(last)["status"]["state"] == "unscheduled"
        report(queue, task_id, how)
    assert queue.status(last)["status"]["state"] == state


def test_dependent_of_a_completed_task_is_pending_at_once(queue: Any, queue_id: str) -> None:
    first = start(queue, queue_id)
    take(queue, queue_id)
    report(queue, first, "completed")
    last = start(queue, queue_id, dependencies=[first])
    assert queue.status(last)["status"]["state"] == "pending"


def test_retried_task_does_not_release_its_dependents(queue: Any, queue_id: str) -> None:
    first = start(queue, queue_id)
    last = start(queue, queue_id, dependencies=[first], requires="all-resolved")
    take(queue, queue_id)
    report(queue, first, "worker-shutdown")
    assert queue.status(last)["status"]["state"] == "unscheduled"


def test_task_that_waits_can_be_scheduled_by_hand(queue: Any, queue_id: str) -> None:
    first = start(queue, queue_id)
    last = start(queue, queue_id, dependencies=[first])
    status = queue.scheduleTask(last)["status"]
    assert status["state"] == "pending"
    assert queue.scheduleTask(last)["status"] == status


def test_task_that_waits_can_be_canceled(queue: Any, queue_id: str) -> None:
    last = start(queue, queue_id, dependencies=[start(queue, queue_id)])
    run = queue.cancelTask(last)["status"]["runs"][0]
    assert (run["reasonCreated"], run["reasonResolved"]) == ("exception", "canceled")


def test_task_may_wait_for_itself_until_it_is_scheduled(queue: Any, queue_id: str) -> None:
    task_id = new_slug()
    definition = task_definition(taskQueueId=queue_id)
    with pytest.raises(TaskclusterRestFailure):
        queue.createTask(new_slug(), {**definition, "dependencies": [task_id]})
    queue.createTask(task_id, {**definition, "dependencies": [task_id]})
    assert queue.status(task_id)["status"]["state"] == "unscheduled"
    assert queue.scheduleTask(task_id)["status"]["state"] == "pending"


def test_task_that_exists_is_controlled_by_scopes_of_its_group(server: DevCluster, queue: Any, queue_id: str) -> None:
    task_id = start(queue, queue_id)
    scope = f"queue:cancel-task:-/{task_id}/{task_id}"
    with pytest.raises(TaskclusterRestFailure) as error:
        server.client(taskcluster.Queue, authorizedScopes=[f"queue:rerun-task:-/{task_id}/*"]).cancelTask(task_id)
    assert error.value.status_code == 403
    server.client(taskcluster.Queue, authorizedScopes=[scope]).cancelTask(task_id)


def test_scheduling_twice_at_once_never_disturbs_a_claimed_run(server: DevCluster, queue: Any, queue_id: str) -> None:
    last = start(queue, queue_id, dependencies=[start(queue, queue_id)])
    queue.claimWork(queue_id, {**WORKER, "tasks": 1})

    def schedule(_number: int) -> None:
        server.client(taskcluster.Queue).scheduleTask(last)

    with ThreadPoolExecutor(8) as pool:
        scheduled = [pool.submit(schedule, number) for number in range(16)]
        assert take(queue, queue_id) == last
        for each in scheduled:
            each.result()
    status = queue.status(last)["status"]
    assert [run["state"] for run in status["runs"]] == ["running"]
