"""The signer beside the development cluster: real claims, temporary credentials with certificates, real storage."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
import taskcluster

from signer import processes
from signer.processes import Service
from simulators.devcluster import QUEUE_ID, WORKER, DevCluster, task_definition
from taskward.signer.client import RunCredentials, SignerClient, SignerRefused, UploadedArtifact


@pytest.fixture(scope="module")
def devcluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    with DevCluster.start(tmp_path_factory.mktemp("devcluster"), claim_wait_s=2) as running:
        yield running


@pytest.fixture
def client(keyholder: Service, devcluster: DevCluster, directory: Path) -> Iterator[SignerClient]:
    config = processes.write_config(
        directory,
        devcluster.root_url,
        worker={
            "task_queue_id": QUEUE_ID,
            "worker_group": WORKER["workerGroup"],
            "worker_id": WORKER["workerId"],
        },
        signer={
            "keyholder_socket": str(keyholder.directory / "keyholder.sock"),
            "public_keys_dir": str(keyholder.directory / "public"),
            "verify_artifacts": "always",
        },
    )
    with processes.signer(config):
        yield SignerClient(directory / "signer.sock")


@pytest.fixture
def claim(devcluster: DevCluster) -> dict[str, Any]:
    queue = devcluster.client(taskcluster.Queue)
    payload = {"command": [["true"]], "maxRunTime": 60, "features": {"chainOfTrust": True}}
    queue.createTask(taskcluster.slugId(), task_definition(payload=payload, scopes=["secrets:get:mine"]))
    claimed: dict[str, Any] = queue.claimWork(QUEUE_ID, {**WORKER, "tasks": 1})["tasks"][0]
    return claimed


def credentials_of(claim: dict[str, Any]) -> RunCredentials:
    given = claim["credentials"]
    return RunCredentials(given["clientId"], given["accessToken"], given["certificate"])


def upload(devcluster: DevCluster, claim: dict[str, Any], name: str, content: bytes) -> UploadedArtifact:
    queue = devcluster.client(taskcluster.Queue, claim["credentials"])
    wanted = {"storageType": "s3", "contentType": "text/plain", "expires": claim["task"]["expires"]}
    url = queue.createArtifact(claim["status"]["taskId"], claim["runId"], name, wanted)["putUrl"]
    requests.put(url, data=content, headers={"Content-Type": "text/plain"}, timeout=10).raise_for_status()
    return UploadedArtifact(name, hashlib.sha256(content).hexdigest(), len(content))


def test_a_claimed_run_is_certified_with_its_temporary_credentials(
    client: SignerClient, devcluster: DevCluster, claim: dict[str, Any]
) -> None:
    artifacts = [upload(devcluster, claim, "public/a b+c.txt", b"content")]
    documents = client.certify(claim["status"]["taskId"], claim["runId"], credentials_of(claim), artifacts)
    text = next(entry.content for entry in documents if entry.name == "public/chain-of-trust.json")
    document = json.loads(text)
    assert document["task"] == devcluster.client(taskcluster.Queue).task(document["taskId"])
    assert document["workerId"] == WORKER["workerId"]


def test_a_task_behind_its_proxy_cannot_have_anything_signed(
    client: SignerClient, devcluster: DevCluster, claim: dict[str, Any]
) -> None:
    """The proxy signs with the run's credentials, restricted to the task's scopes and create-artifact."""
    task_id, run_id = claim["status"]["taskId"], claim["runId"]
    scopes = ["secrets:get:mine", f"queue:create-artifact:{task_id}/{run_id}"]
    restricted = replace(
        credentials_of(claim),
        certificate=f'{claim["credentials"]["certificate"]},"authorizedScopes":{json.dumps(scopes)}',
    )  # becomes {"certificate": …, "authorizedScopes": […]} in the ext, as the proxy writes it
    with pytest.raises(SignerRefused, match="scope-missing"):
        client.certify(task_id, run_id, restricted, [])


def test_a_cancelled_run_is_not_certified(client: SignerClient, devcluster: DevCluster, claim: dict[str, Any]) -> None:
    devcluster.client(taskcluster.Queue).cancelTask(claim["status"]["taskId"])
    with pytest.raises(SignerRefused, match="run-not-running"):
        client.certify(claim["status"]["taskId"], claim["runId"], credentials_of(claim), [])
