"""Taskcluster in trouble, and too many requests."""

from pathlib import Path
from typing import Any

import pytest

from signer import processes
from signer.callers import other_signer
from signer.processes import Service
from signer.simulated_queue import SimulatedTask, SimulatedTaskcluster
from taskward.signer.client import (
    SignerClient,
    SignerUnavailable,
)


def test_a_queue_in_trouble_for_a_moment_is_asked_again(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    credentials = taskcluster.run_credentials(task)
    taskcluster.failures_to_come.extend([502, 500])
    assert client.certify(task.task_id, 0, credentials, [])


def test_a_queue_in_lasting_trouble_means_try_later(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    credentials = taskcluster.run_credentials(task)
    taskcluster.failures_to_come.extend([502] * 4)
    with pytest.raises(SignerUnavailable, match="taskcluster-unavailable"):
        client.certify(task.task_id, 0, credentials, [])


def test_a_queue_that_refuses_to_be_read_means_try_later(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    taskcluster.anonymous_reads = False
    with pytest.raises(SignerUnavailable, match="queue-refuses"):
        client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])


@pytest.mark.parametrize("task_part", [{"runs": [{}]}, {"runs": [{"state": "running"}]}])
def test_a_queue_that_answers_in_another_form_means_try_later(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask, task_part: dict[str, Any]
) -> None:
    task.runs = task_part["runs"]
    with pytest.raises(SignerUnavailable, match="queue-answer"):
        client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])


def test_credentials_of_the_signer_s_own_read_a_closed_queue(
    keyholder: Service, taskcluster: SimulatedTaskcluster, directory: Path, task: SimulatedTask
) -> None:
    taskcluster.anonymous_reads = False
    token = directory / "token"
    token.write_text("secret\n")
    config = other_signer(keyholder, directory, taskcluster, client_id="project/x/signer", access_token_file=str(token))
    with processes.signer(config):
        client = SignerClient(directory / "signer.sock")
        assert client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])


def test_more_requests_than_configured_are_sent_away_for_a_while(
    keyholder: Service, taskcluster: SimulatedTaskcluster, directory: Path, task: SimulatedTask
) -> None:
    config = other_signer(keyholder, directory, taskcluster, rate_per_minute=2)
    with processes.signer(config):
        client = SignerClient(directory / "signer.sock")
        for _ in range(2):
            client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])
        with pytest.raises(SignerUnavailable, match="too-many"):
            client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])
