"""Which runs are signed for."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from signer import processes
from signer.callers import other_signer, refusal
from signer.processes import Service
from signer.simulated_queue import SimulatedTask, SimulatedTaskcluster
from taskward.signer.client import (
    SignerClient,
)


def past() -> str:
    return (datetime.now(UTC) - timedelta(seconds=1)).isoformat()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"state": "completed"}, "run-not-running"),
        ({"state": "exception"}, "run-not-running"),
        ({"state": "pending"}, "run-not-running"),
        ({"workerId": "w-2"}, "other-worker"),
        ({"workerGroup": "dc2"}, "other-worker"),
        ({"takenUntil": past()}, "claim-expired"),
    ],
)
def test_a_run_that_this_worker_does_not_hold_is_refused(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask, change: dict[str, str], code: str
) -> None:
    task.runs[0].update(change)
    assert refusal(client, task, taskcluster.run_credentials(task)) == code


def test_a_run_of_another_pool_is_refused(
    keyholder: Service, taskcluster: SimulatedTaskcluster, directory: Path, task: SimulatedTask
) -> None:
    config = other_signer(keyholder, directory, taskcluster)
    config.write_text(config.read_text().replace('"proj-test/linux"', '"proj-test/release"'))
    with processes.signer(config):
        client = SignerClient(directory / "signer.sock")
        assert refusal(client, task, taskcluster.run_credentials(task)) == "other-worker"


def test_a_run_that_was_superseded_by_a_retry_is_refused(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    task.runs.append({**task.runs[0], "runId": 1})
    assert refusal(client, task, taskcluster.run_credentials(task)) == "run-superseded"


def test_a_run_that_does_not_exist_is_refused(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    credentials = taskcluster.run_credentials(task, run_id=1)
    assert refusal(client, task, credentials, run_id=1) == "run-unknown"


def test_an_unknown_task_is_refused(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    credentials = taskcluster.run_credentials(task)
    del taskcluster.tasks[task.task_id]
    assert refusal(client, task, credentials) == "run-unknown"


@pytest.mark.parametrize("features", [{}, {"chainOfTrust": False}, {"chainOfTrust": "true"}, {"chainOfTrust": 1}])
def test_a_task_that_does_not_ask_for_it_is_refused(
    client: SignerClient, taskcluster: SimulatedTaskcluster, features: dict[str, Any]
) -> None:
    task = taskcluster.create_task(features)
    assert refusal(client, task, taskcluster.run_credentials(task)) == "not-asked-for"
