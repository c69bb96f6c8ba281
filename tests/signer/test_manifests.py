"""Which artifacts may stand in a manifest."""

import json
from pathlib import Path
from typing import Any

import pytest

from signer import processes
from signer.callers import SHA256, other_signer, refusal
from signer.processes import Service
from signer.simulated_queue import SimulatedTask, SimulatedTaskcluster
from taskward.signer.client import (
    SignerClient,
    UploadedArtifact,
)


def test_an_artifact_that_the_queue_does_not_list_is_refused(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    extra = UploadedArtifact("public/not-there", SHA256, 1)
    assert refusal(client, task, taskcluster.run_credentials(task), [extra]) == "artifact-not-listed"


@pytest.mark.parametrize("storage_type", ["reference", "link", "error"])
def test_an_artifact_without_content_is_refused(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask, storage_type: str
) -> None:
    redirect = task.upload("public/a", b"a", storage_type)
    assert refusal(client, task, taskcluster.run_credentials(task), [redirect]) == "artifact-not-listed"


def test_what_the_task_uploaded_by_itself_is_left_uncertified(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    taskcluster.page_entries = 1
    ours = task.upload("public/a", b"a")
    task.upload("public/b", b"b")
    documents = client.certify(task.task_id, 0, taskcluster.run_credentials(task), [ours])
    body = next(d.content for d in documents if d.name == "public/chain-of-trust.json")
    assert list(json.loads(body)["artifacts"]) == ["public/a"]


def test_a_document_cannot_certify_itself(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    planted = task.upload("public/chain-of-trust.json", b"{}")
    assert refusal(client, task, taskcluster.run_credentials(task), [planted]) == "reserved-name"


def test_an_image_hash_needs_an_image_in_the_payload(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    environment = {"imageHash": f"sha256:{SHA256}"}
    credentials = taskcluster.run_credentials(task)
    assert refusal(client, task, credentials, environment=environment) == "no-image"


def test_an_image_artifact_hash_needs_an_image_from_a_task(
    client: SignerClient, taskcluster: SimulatedTaskcluster
) -> None:
    task = taskcluster.create_task(image="debian:12")
    environment = {"imageArtifactHash": f"sha256:{SHA256}"}
    credentials = taskcluster.run_credentials(task)
    assert refusal(client, task, credentials, environment=environment) == "no-image-artifact"


def test_image_hashes_of_a_docker_task_are_certified(client: SignerClient, taskcluster: SimulatedTaskcluster) -> None:
    task = taskcluster.create_task(image={"type": "task-image", "taskId": "x", "path": "public/image.tar"})
    environment = {"imageHash": f"sha256:{'1' * 64}", "imageArtifactHash": f"sha256:{'2' * 64}"}
    documents = client.certify(task.task_id, 0, taskcluster.run_credentials(task), [], environment=environment)
    text = next(entry.content for entry in documents if entry.name == "public/chain-of-trust.json")
    assert environment.items() <= json.loads(text)["environment"].items()


@pytest.fixture
def suspicious(keyholder: Service, taskcluster: SimulatedTaskcluster, directory: Path) -> Any:
    """A client of a signer that downloads what it certifies."""
    config = other_signer(keyholder, directory, taskcluster, verify_artifacts="always")
    with processes.signer(config):
        yield SignerClient(directory / "signer.sock")


def test_downloaded_content_that_is_as_stated_is_certified(
    suspicious: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    artifacts = [task.upload("public/a b.txt", b"a" * 3_000_000)]
    assert suspicious.certify(task.task_id, 0, taskcluster.run_credentials(task), artifacts)


@pytest.mark.parametrize("content", [b"b", b"aa", b""], ids=["other", "longer", "shorter"])
def test_downloaded_content_that_is_otherwise_is_refused(
    suspicious: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask, content: bytes
) -> None:
    artifacts = [task.upload("public/a", b"a")]
    task.upload("public/a", content)
    credentials = taskcluster.run_credentials(task)
    assert refusal(suspicious, task, credentials, artifacts) == "artifact-differs"


def test_a_redirect_to_a_host_that_is_not_configured_is_not_followed(
    suspicious: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    taskcluster.redirect_artifacts_to = "http://169.254.169.254/latest/meta-data"
    artifacts = [task.upload("public/a", b"a")]
    credentials = taskcluster.run_credentials(task)
    assert refusal(suspicious, task, credentials, artifacts) == "artifact-host"
