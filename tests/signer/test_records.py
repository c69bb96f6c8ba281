"""A run is signed once, and everything that happens is recorded."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from signer import processes
from signer.callers import get, other_signer, refusal
from signer.processes import Service
from signer.simulated_queue import SimulatedTask, SimulatedTaskcluster
from taskward.signer.client import (
    SignerClient,
)


def test_the_same_manifest_again_gives_the_same_bytes(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    credentials = taskcluster.run_credentials(task)
    artifacts = [task.upload("public/a", b"a")]
    first = client.certify(task.task_id, 0, credentials, artifacts)
    for document in first:
        task.upload(document.name, document.content)
    assert client.certify(task.task_id, 0, credentials, artifacts) == first


def test_another_manifest_for_a_signed_run_is_refused(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    credentials = taskcluster.run_credentials(task)
    artifacts = [task.upload("public/a", b"a")]
    client.certify(task.task_id, 0, credentials, artifacts)
    changed = [task.upload("public/a", b"b")]
    assert refusal(client, task, credentials, changed) == "signed-otherwise"


def test_refusals_are_recorded_and_counted(
    client: SignerClient, signer: Service, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    credentials = taskcluster.credentials_with([])
    assert refusal(client, task, credentials) == "scope-missing"
    lines = (signer.directory / "state" / "audit.jsonl").read_text().splitlines()
    [line] = [line for line in map(json.loads, lines) if line.get("taskId") == task.task_id]
    assert (line["event"], line["code"], line["uid"]) == ("refused", "scope-missing", os.getuid())
    assert 'taskward_signer_errors_total{code="scope-missing"}' in get(signer, "/metrics")


def test_each_signature_is_recorded_before_and_after(
    client: SignerClient, signer: Service, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    documents = client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])
    lines = (signer.directory / "state" / "audit.jsonl").read_text().splitlines()
    ours = [line for line in map(json.loads, lines) if line.get("taskId") == task.task_id]
    assert [(line["event"], line["form"]) for line in ours] == [
        (event, form) for form in ("openpgp", "ed25519", "dsse") for event in ("sign", "signed")
    ]
    body = next(entry.content for entry in documents if entry.name == "public/chain-of-trust.json")
    assert ours[2]["bodySha256"] == hashlib.sha256(body).hexdigest()
    check = [sys.executable, "-m", "taskward.signer.audit", str(signer.directory / "state" / "audit.jsonl")]
    assert subprocess.run(check, check=False, capture_output=True).returncode == 0


def test_metrics_are_there_when_nothing_happened(
    keyholder: Service, taskcluster: SimulatedTaskcluster, directory: Path
) -> None:
    with processes.signer(other_signer(keyholder, directory, taskcluster)) as idle:
        text = get(idle, "/metrics")
        assert 'taskward_signer_requests_total{outcome="certified"} 0' in text
        assert 'taskward_signer_signatures_total{form="dsse"} 0' in text
        assert "taskward_signer_keyholder_up 1" in text
        assert "taskward_signer_openpgp_key_expires_timestamp_seconds 1" in text
        assert get(idle, "/healthz").endswith("ok\n")
        assert " 404 " in get(idle, "/v1/sign")
