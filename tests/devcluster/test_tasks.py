"""Creating tasks and looking at them, with the plain client."""

from typing import Any

import pytest
import taskcluster
from taskcluster.exceptions import TaskclusterRestFailure

from simulators.devcluster import WORKER, DevCluster, task_definition


def refusal(error: pytest.ExceptionInfo[TaskclusterRestFailure]) -> tuple[int, str]:
    return error.value.status_code, error.value.body["code"]


def test_created_task_is_pending_and_has_every_default(queue: Any) -> None:
    task_id = taskcluster.slugId()
    status = queue.createTask(task_id, task_definition())["status"]
    definition = queue.task(task_id)
    assert status["state"] == "pending"
    assert status["runs"][0]["reasonCreated"] == "scheduled"
    assert definition["provisionerId"] == "proj-test"
    assert definition["workerType"] == "ci"
    assert definition["taskGroupId"] == task_id
    assert definition["schedulerId"] == "-"
    assert definition["projectId"] == "none"
    assert definition["priority"] == "lowest"
    assert definition["retries"] == 5
    assert definition["requires"] == "all-completed"
    assert (definition["dependencies"], definition["routes"], definition["scopes"]) == ([], [], [])
    assert definition["created"].endswith("Z")
    assert "taskId" not in definition


def test_task_expires_a_year_after_its_deadline(queue: Any) -> None:
    task_id = taskcluster.slugId()
    status = queue.createTask(task_id, task_definition())["status"]
    assert int(status["expires"][:4]) == int(status["deadline"][:4]) + 1


def test_same_definition_may_be_sent_twice(queue: Any) -> None:
    task_id, definition = taskcluster.slugId(), task_definition()
    first = queue.createTask(task_id, definition)
    assert queue.createTask(task_id, definition) == first


def test_other_definition_of_the_same_task_is_a_conflict(queue: Any) -> None:
    task_id, definition = taskcluster.slugId(), task_definition()
    queue.createTask(task_id, definition)
    with pytest.raises(TaskclusterRestFailure) as error:
        queue.createTask(task_id, {**definition, "payload": {}})
    assert refusal(error) == (409, "RequestConflict")


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": []},
        {"unknown": 1},
        {"priority": "urgent"},
        {"retries": 50},
        {"retries": True},
        {"scopes": ["ü"]},
        {"scopes": "queue:*"},
        {"deadline": "tomorrow"},
        {"deadline": "2030-01-01"},
        {"taskQueueId": "proj-test/CI"},
        {"taskQueueId": "one"},
        {"taskGroupId": "short"},
        {"dependencies": ["short"]},
        {"routes": ["x" * 250]},
        {"routes": ["same", "same"]},
        {"tags": {"a": 1}},
        {"metadata": {"name": "n"}},
        {"metadata": {"name": "n", "description": "d", "owner": "o", "source": "ftp://x"}},
    ],
    ids=str,
)
def test_malformed_definition_is_refused(queue: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(TaskclusterRestFailure) as error:
        queue.createTask(taskcluster.slugId(), task_definition(**changes))
    assert refusal(error) == (400, "InputValidationError")


@pytest.mark.parametrize(
    "changes",
    [
        {"created": taskcluster.fromNowJSON("-20 minutes")},
        {"created": taskcluster.fromNowJSON("50 minutes")},
        {"deadline": taskcluster.fromNowJSON("-1 minute")},
        {"deadline": taskcluster.fromNowJSON("6 days")},
        {"expires": taskcluster.fromNowJSON("1 minute")},
        {"scopes": ["queue:**"]},
        {"provisionerId": "other", "workerType": "ci"},
        {"dependencies": [taskcluster.slugId()]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_impossible_definition_is_refused(queue: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(TaskclusterRestFailure) as error:
        queue.createTask(taskcluster.slugId(), task_definition(**changes))
    assert refusal(error) == (400, "InputError")


def test_task_id_must_be_a_slug(queue: Any) -> None:
    with pytest.raises(TaskclusterRestFailure) as error:
        queue.createTask("not-a-slug", task_definition())
    assert refusal(error) == (400, "InvalidRequestArguments")


def test_unknown_task_is_not_found(queue: Any) -> None:
    for call in (queue.task, queue.status, queue.cancelTask, queue.rerunTask, queue.scheduleTask):
        with pytest.raises(TaskclusterRestFailure) as error:
            call(taskcluster.slugId())
        assert refusal(error) == (404, "ResourceNotFound")


def test_body_above_ten_megabytes_is_an_internal_error(queue: Any) -> None:
    with pytest.raises(TaskclusterRestFailure) as error:
        queue.createTask(taskcluster.slugId(), task_definition(payload={"x": "y" * 10_500_000}))
    assert refusal(error) == (500, "InternalServerError")


def test_body_of_nine_megabytes_passes(queue: Any) -> None:
    task_id = taskcluster.slugId()
    queue.createTask(task_id, task_definition(payload={"x": "y" * 9_000_000}))
    assert len(queue.task(task_id)["payload"]["x"]) == 9_000_000
    queue.cancelTask(task_id)


def test_group_lists_its_tasks_in_pages(queue: Any) -> None:
    group_id = taskcluster.slugId()
    expected = {taskcluster.slugId() for _ in range(5)}
    for task_id in expected:
        queue.createTask(task_id, task_definition(taskGroupId=group_id))
    pages: list[dict[str, Any]] = []
    queue.listTaskGroup(group_id, paginationHandler=pages.append, paginationLimit=2)
    assert [len(page["tasks"]) for page in pages] == [2, 2, 1]
    assert {entry["status"]["taskId"] for page in pages for entry in page["tasks"]} == expected
    assert queue.getTaskGroup(group_id)["schedulerId"] == "-"


def test_group_belongs_to_one_scheduler(queue: Any) -> None:
    group_id = taskcluster.slugId()
    queue.createTask(taskcluster.slugId(), task_definition(taskGroupId=group_id))
    with pytest.raises(TaskclusterRestFailure) as error:
        queue.createTask(taskcluster.slugId(), task_definition(taskGroupId=group_id, schedulerId="other"))
    assert refusal(error) == (409, "RequestConflict")


def test_sealed_group_takes_no_more_tasks(queue: Any) -> None:
    group_id = taskcluster.slugId()
    definition = task_definition()
    queue.createTask(group_id, definition)
    queue.createTask(group_id, definition)
    queue.sealTaskGroup(group_id)
    for task_id in (taskcluster.slugId(), group_id):
        with pytest.raises(TaskclusterRestFailure) as error:
            queue.createTask(task_id, {**definition, "taskGroupId": group_id})
        assert refusal(error) == (409, "RequestConflict")


def test_group_is_canceled_at_once(queue: Any) -> None:
    group_id = taskcluster.slugId()
    queue.createTask(group_id, task_definition())
    assert queue.cancelTaskGroup(group_id)["taskIds"] == [group_id]
    assert queue.cancelTaskGroup(group_id)["cancelledCount"] == 0
    assert queue.status(group_id)["status"]["state"] == "exception"


@pytest.mark.parametrize(
    ("verb", "scope"),
    [("sealTaskGroup", "queue:seal-task-group-in-project:p"), ("cancelTaskGroup", "queue:cancel-task-in-project:p")],
)
def test_group_may_be_handled_by_who_may_handle_its_project(server: DevCluster, verb: str, scope: str) -> None:
    root, group_id = server.client(taskcluster.Queue), taskcluster.slugId()
    root.createTask(group_id, task_definition(projectId="p"))
    root.sealTaskGroup(group_id)
    root.options["authorizedScopes"] = [scope]
    assert getattr(root, verb)(group_id)["taskGroupId"] == group_id
    root.options["authorizedScopes"] = [scope.removesuffix("p") + "other"]
    with pytest.raises(TaskclusterRestFailure) as error:
        getattr(root, verb)(group_id)
    assert refusal(error) == (403, "InsufficientScopes")


def test_group_gets_another_priority(queue: Any, queue_id: str) -> None:
    group_id, other = taskcluster.slugId(), taskcluster.slugId()
    queue.createTask(other, task_definition(taskQueueId=queue_id, priority="low"))
    queue.createTask(group_id, task_definition(taskQueueId=queue_id))
    assert queue.changeTaskGroupPriority(group_id, {"newPriority": "high"})["taskIds"] == [group_id]
    claims = queue.claimWork(queue_id, {**WORKER, "tasks": 2})["tasks"]
    assert [each["status"]["taskId"] for each in claims] == [group_id, other]
    assert claims[0]["task"]["priority"] == "high"


def test_dependency_must_outlive_the_deadline(queue: Any) -> None:
    first = taskcluster.slugId()
    queue.createTask(first, task_definition(expires=taskcluster.fromNowJSON("2 hours")))
    late = {"deadline": taskcluster.fromNowJSON("3 hours"), "dependencies": [first]}
    with pytest.raises(TaskclusterRestFailure) as error:
        queue.createTask(taskcluster.slugId(), task_definition(**late))
    assert refusal(error) == (400, "InputError")


def test_rights_are_asked_for_before_times(server: DevCluster) -> None:
    root = server.client(taskcluster.Queue)
    root.options["authorizedScopes"] = ["nothing"]
    with pytest.raises(TaskclusterRestFailure) as error:
        root.createTask(taskcluster.slugId(), task_definition(deadline=taskcluster.fromNowJSON("-1 minute")))
    assert refusal(error) == (403, "InsufficientScopes")


@pytest.mark.parametrize("source", ["https://x", "http://x", "ssh://x", "git@github.com:x/y"])
def test_source_may_be_any_of_these(queue: Any, source: str) -> None:
    task_id, definition = taskcluster.slugId(), task_definition()
    queue.createTask(task_id, {**definition, "metadata": {**definition["metadata"], "source": source}})
    assert queue.task(task_id)["metadata"]["source"] == source


@pytest.mark.parametrize("missing", ["a:b", "queue:route:x", "queue:create-task:low:proj-test/ci"])
def test_creator_needs_the_scopes_of_the_task(server: DevCluster, missing: str) -> None:
    enough = [
        "a:b",
        "queue:route:x",
        "queue:create-task:project:none",
        "queue:scheduler-id:-",
        "queue:create-task:low:proj-test/ci",
    ]
    definition = task_definition(scopes=["a:b"], routes=["x"], priority="lowest")
    root = server.client(taskcluster.Queue)
    root.options["authorizedScopes"] = enough
    root.createTask(taskcluster.slugId(), definition)
    root.options["authorizedScopes"] = [scope for scope in enough if scope != missing]
    with pytest.raises(TaskclusterRestFailure) as error:
        root.createTask(taskcluster.slugId(), definition)
    assert refusal(error) == (403, "InsufficientScopes")
    assert missing in error.value.body["message"]


def test_statuses_and_definitions_come_in_batches(queue: Any) -> None:
    task_id = taskcluster.slugId()
    queue.createTask(task_id, task_definition())
    wanted = {"taskIds": [task_id, taskcluster.slugId()]}
    assert [entry["taskId"] for entry in queue.statuses(wanted)["statuses"]] == [task_id]
    assert [entry["taskId"] for entry in queue.tasks(wanted)["tasks"]] == [task_id]


def test_dependents_are_listed(queue: Any) -> None:
    first, second = taskcluster.slugId(), taskcluster.slugId()
    queue.createTask(first, task_definition())
    queue.createTask(second, task_definition(dependencies=[first]))
    assert [entry["status"]["taskId"] for entry in queue.listDependentTasks(first)["tasks"]] == [second]
