"""What tests of the development Taskcluster do again and again."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import taskcluster
from taskcluster.exceptions import TaskclusterAuthFailure

from simulators.devcluster import WORKER, DevCluster, task_definition
from taskward.devcluster.identifiers import new_slug

NOW = datetime.now(UTC)


def create(queue: Any, queue_id: str, **changes: Any) -> str:
    task_id = new_slug()
    queue.createTask(task_id, task_definition(taskQueueId=queue_id, **changes))
    return task_id


def claimed_ids(queue: Any, queue_id: str, most: int = 1) -> list[str]:
    reply = queue.claimWork(queue_id, {**WORKER, "tasks": most})
    return [claim["status"]["taskId"] for claim in reply["tasks"]]


def temporary(server: DevCluster, scopes: list[str], name: str | None = None, **changes: Any) -> dict[str, Any]:
    start, expiry = changes.get("start", NOW), changes.get("expiry", NOW + timedelta(hours=1))
    made = taskcluster.createTemporaryCredentials(
        server.client_id, server.access_token, start, expiry, scopes, name=name
    )
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in made.items()}


def forged(credentials: dict[str, Any], **changes: Any) -> dict[str, Any]:
    certificate = {**json.loads(credentials["certificate"]), **changes}
    return {**credentials, "certificate": json.dumps(certificate)}


def failure(server: DevCluster, credentials: dict[str, Any]) -> str:
    with pytest.raises(TaskclusterAuthFailure) as error:
        server.client(taskcluster.Auth, credentials).currentScopes()
    assert error.value.body["code"] == "AuthenticationFailed"
    return str(error.value.body["message"])
