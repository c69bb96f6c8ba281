"""What chain-of-trust verifiers of both eras do with the documents."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import gnupg
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from signer.processes import Service
from signer.simulated_queue import SimulatedTask, SimulatedTaskcluster
from taskward.signer.client import SignerClient


@pytest.fixture
def task(taskcluster: SimulatedTaskcluster) -> SimulatedTask:
    return taskcluster.create_task()


@pytest.fixture
def documents(client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask) -> dict[str, bytes]:
    artifacts = [task.upload("public/a.txt", "ä".encode())]
    made = client.certify(task.task_id, 0, taskcluster.run_credentials(task), artifacts)
    return {document.name: document.content for document in made}


@pytest.fixture
def verifier(directory: Path, signer: Service) -> Iterator[gnupg.GPG]:
    """A home with a key of its own, which has signed the worker's key locally: that is what gives trust."""
    home = directory / "verifier"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", ""]
    armored = signer.directory / "public" / "openpgp.asc"
    fingerprint = json.loads((signer.directory / "public" / "keys.json").read_text())["openpgp"]["fingerprint"]
    for arguments in (
        ["--quick-gen-key", "the verifier", "ed25519"],
        ["--import", str(armored)],
        ["--yes", "--quick-lsign-key", fingerprint],
    ):
        subprocess.run([*gpg, *arguments], check=True, capture_output=True)
    made = gnupg.GPG(gnupghome=str(home))
    made.encoding = "utf-8"
    yield made
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


def test_gpg_era(verifier: gnupg.GPG, documents: dict[str, bytes], task: SimulatedTask) -> None:
    """Trust line first, then the body as gpg hands it out, then the companion has to say the same."""
    text = documents["public/chainOfTrust.json.asc"].decode()
    verified = verifier.verify(text)
    assert verified.trust_level is not None
    assert verified.trust_level >= verified.TRUST_FULLY
    body = json.loads(str(verifier.decrypt(text)))
    assert body["taskId"] == task.task_id
    assert body == json.loads(documents["public/chain-of-trust.json"])


def test_ed25519_era(signer: Service, documents: dict[str, bytes], task: SimulatedTask) -> None:
    """Every configured key is tried on the bytes of the file, then the JSON is loaded."""
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    ours = base64.b64decode((signer.directory / "public" / "ed25519.pub").read_text())
    accepted = 0
    for raw in (stranger, ours):
        try:
            Ed25519PublicKey.from_public_bytes(raw).verify(
                documents["public/chain-of-trust.json.sig"], documents["public/chain-of-trust.json"]
            )
            accepted += 1
        except InvalidSignature:
            continue
    assert accepted == 1
    assert json.loads(documents["public/chain-of-trust.json"])["taskId"] == task.task_id


def test_document_fits_the_published_schema(documents: dict[str, bytes]) -> None:
    """The required keys and types of scriptworker's cot_v1_schema.json."""
    document = json.loads(documents["public/chain-of-trust.json"])
    assert isinstance(document["artifacts"], dict)
    assert isinstance(document["environment"], dict)
    assert (type(document["chainOfTrustVersion"]), type(document["runId"])) == (int, int)
    assert all(isinstance(document[key], str) for key in ("taskId", "workerGroup", "workerId"))
    task = document["task"]
    assert isinstance(task["payload"], dict)
    assert isinstance(task["taskGroupId"], str)
    assert isinstance(task["workerType"], str)
    assert all(len(task[key]) == len(set(task[key])) for key in ("dependencies", "scopes"))
