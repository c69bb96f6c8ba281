"""What a foreign verifier does with the documents: plain gpg, the cryptography library, plain JSON."""

import base64
import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from signer.callers import RawCaller
from signer.processes import Service
from signer.simulated_queue import SimulatedTask, SimulatedTaskcluster
from taskward.signer.client import Document, SignerClient, SignerRefused

CHAIN_OF_TRUST = {
    "public/chainOfTrust.json.asc",
    "public/chain-of-trust.json",
    "public/chain-of-trust.json.sig",
    "public/provenance.intoto.json",
}
CERTIFICATE = "public/logs/certificate.json.gpg"


def certify(client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask) -> dict[str, Document]:
    artifacts = [task.upload("public/b.txt", b"bee"), task.upload("public/a.txt", b"ay", "object")]
    task.upload("public/logs/live_backing.log", b"log")
    task.upload("public/logs/live.log", b"", "reference")
    documents = client.certify(task.task_id, 0, taskcluster.run_credentials(task), artifacts)
    return {document.name: document for document in documents}


def public_key(signer: Service, name: str) -> Ed25519PublicKey:
    text = (signer.directory / "public" / name).read_bytes()
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text))


def gpg(home: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    home.mkdir(mode=0o700, exist_ok=True)
    command = ["gpg", "--homedir", str(home), "--no-autostart", "--batch", "--status-fd", "2", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=30)


def test_chain_of_trust_gives_both_signatures_and_provenance(
    client: SignerClient, taskcluster: SimulatedTaskcluster
) -> None:
    assert certify(client, taskcluster, taskcluster.create_task()).keys() == CHAIN_OF_TRUST


def test_generate_certificate_gives_the_first_form_alone(
    client: SignerClient, taskcluster: SimulatedTaskcluster
) -> None:
    task = taskcluster.create_task({"generateCertificate": True})
    assert certify(client, taskcluster, task).keys() == {CERTIFICATE}


def test_document_has_the_keys_of_generic_worker_in_their_order(
    client: SignerClient, taskcluster: SimulatedTaskcluster
) -> None:
    task = taskcluster.create_task()
    text = certify(client, taskcluster, task)["public/chain-of-trust.json"].content
    document = json.loads(text)
    assert list(document) == [
        "chainOfTrustVersion",
        "artifacts",
        "task",
        "taskId",
        "runId",
        "workerGroup",
        "workerId",
        "environment",
    ]
    assert document["chainOfTrustVersion"] == 1
    assert list(document["artifacts"].items()) == [
        ("public/a.txt", {"sha256": hashlib.sha256(b"ay").hexdigest()}),
        ("public/b.txt", {"sha256": hashlib.sha256(b"bee").hexdigest()}),
    ]
    assert document["task"] == task.definition
    assert list(document["task"]) == sorted(document["task"])
    assert list(document["task"]["payload"]) == list(task.definition["payload"])
    assert (document["taskId"], document["runId"]) == (task.task_id, 0)
    assert (document["workerGroup"], document["workerId"]) == ("dc1", "w-1")
    assert list(document["environment"].items()) == [("publicIpAddress", "192.0.2.1"), ("region", "north")]
    assert text.startswith(b'{\n  "chainOfTrustVersion": 1,\n  "artifacts": {\n    "public/a.txt": {\n')
    assert text.endswith(b"}\n}")
    assert b"a \\u003ctask\\u003e \\u0026 more" in text
    assert "täsk ☃".encode() in text


def test_detached_signature_is_64_raw_bytes_over_exactly_the_document(
    client: SignerClient, signer: Service, taskcluster: SimulatedTaskcluster
) -> None:
    documents = certify(client, taskcluster, taskcluster.create_task())
    text = documents["public/chain-of-trust.json"].content
    signature = documents["public/chain-of-trust.json.sig"]
    assert signature.content_type == "application/octet-stream"
    assert len(signature.content) == 64
    key = public_key(signer, "ed25519.pub")
    key.verify(signature.content, text)
    with pytest.raises(InvalidSignature):
        key.verify(signature.content, text + b"\n")


def test_clear_signed_text_is_good_for_plain_gpg(
    client: SignerClient, signer: Service, taskcluster: SimulatedTaskcluster, directory: Path
) -> None:
    documents = certify(client, taskcluster, taskcluster.create_task())
    home = directory / "gpg"
    assert gpg(home, "--import", str(signer.directory / "public" / "openpgp.asc")).returncode == 0
    verified = gpg(home, "--decrypt", stdin=documents["public/chainOfTrust.json.asc"].content)
    assert verified.returncode == 0
    assert verified.stderr.count(b"[GNUPG:] GOODSIG ") == 1
    fingerprint = json.loads((signer.directory / "public" / "keys.json").read_text())["openpgp"]["fingerprint"]
    assert f"[GNUPG:] VALIDSIG {fingerprint} ".encode() in verified.stderr
    assert verified.stdout.rstrip(b"\n") == documents["public/chain-of-trust.json"].content


def test_a_changed_clear_signed_text_is_bad_for_plain_gpg(
    client: SignerClient, signer: Service, taskcluster: SimulatedTaskcluster, directory: Path
) -> None:
    text = certify(client, taskcluster, taskcluster.create_task())["public/chainOfTrust.json.asc"].content
    home = directory / "gpg"
    gpg(home, "--import", str(signer.directory / "public" / "openpgp.asc"))
    assert gpg(home, "--verify", stdin=text).returncode == 0
    changed = gpg(home, "--verify", stdin=text.replace(b'"runId": 0', b'"runId": 1'))
    assert changed.returncode != 0
    assert b"BADSIG" in changed.stderr


def test_first_form_lists_artifacts_and_calls_the_environment_extra(
    client: SignerClient, signer: Service, taskcluster: SimulatedTaskcluster, directory: Path
) -> None:
    task = taskcluster.create_task({"generateCertificate": True, "chainOfTrust": True})
    documents = certify(client, taskcluster, task)
    assert documents.keys() == CHAIN_OF_TRUST | {CERTIFICATE}
    home = directory / "gpg"
    gpg(home, "--import", str(signer.directory / "public" / "openpgp.asc"))
    body = json.loads(gpg(home, "--decrypt", stdin=documents[CERTIFICATE].content).stdout)
    assert list(body) == ["artifacts", "task", "taskId", "runId", "workerGroup", "workerId", "extra"]
    assert body["artifacts"][0] == {
        "name": "public/a.txt",
        "hash": f"sha256:{hashlib.sha256(b'ay').hexdigest()}",
    }
    assert body["extra"]["region"] == "north"


def test_provenance_is_a_dsse_envelope_signed_with_a_key_of_its_own(
    client: SignerClient, signer: Service, taskcluster: SimulatedTaskcluster
) -> None:
    task = taskcluster.create_task()
    envelope = json.loads(certify(client, taskcluster, task)["public/provenance.intoto.json"].content)
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    assert kind == b"application/vnd.in-toto+json"
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    [signature] = envelope["signatures"]
    public_key(signer, "dsse.pub").verify(base64.b64decode(signature["sig"]), signed)
    with pytest.raises(InvalidSignature):
        public_key(signer, "ed25519.pub").verify(base64.b64decode(signature["sig"]), signed)
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert [subject["name"] for subject in statement["subject"]] == ["public/a.txt", "public/b.txt"]
    build = statement["predicate"]["buildDefinition"]
    assert build["externalParameters"] == {"task": task.definition}
    assert build["resolvedDependencies"] == [{"uri": f"{taskcluster.root_url}/tasks/fN1SbArXTPSVFNUvaOlinQ"}]
    run = statement["predicate"]["runDetails"]
    assert run["builder"]["id"] == f"{taskcluster.root_url}/worker-manager/proj-test%2Flinux"
    assert run["metadata"]["invocationId"] == f"{taskcluster.root_url}/tasks/{task.task_id}/runs/0"
    assert run["metadata"]["startedOn"] == task.runs[0]["started"]


def test_keys_are_served_as_they_are_published(client: SignerClient, signer: Service) -> None:
    keys = client.keys()
    public = signer.directory / "public"
    assert keys["openpgp"]["armored"] == (public / "openpgp.asc").read_text()
    assert keys["ed25519"]["publicKey"] == (public / "ed25519.pub").read_text()
    assert keys["dsse"]["publicKey"] == (public / "dsse.pub").read_text()
    assert keys["openpgp"]["expires"] is not None


def test_a_line_of_19_993_bytes_is_clear_signed_whole(client: SignerClient, taskcluster: SimulatedTaskcluster) -> None:
    line_without_text = len('      "note": ""')
    task = taskcluster.create_task(note="x" * (19_993 - line_without_text))
    text = certify(client, taskcluster, task)["public/chainOfTrust.json.asc"].content
    assert max(map(len, text.split(b"\n"))) == 19_993


def test_a_longer_string_is_signed_with_ed25519_and_the_missing_form_is_explained(
    client: SignerClient, taskcluster: SimulatedTaskcluster
) -> None:
    task = taskcluster.create_task(command=[["bash", "-c", "x" * 20_000]])
    omitted: list[tuple[str, str]] = []
    documents = client.certify(
        task.task_id, 0, taskcluster.run_credentials(task), [], on_omitted=lambda *pair: omitted.append(pair)
    )
    assert {document.name for document in documents} == CHAIN_OF_TRUST - {"public/chainOfTrust.json.asc"}
    [(name, reason)] = omitted
    assert name == "public/chainOfTrust.json.asc"
    assert "task.payload.command[0][2]" in reason
    assert "19993" in reason


def test_a_longer_string_leaves_nothing_to_sign_when_only_openpgp_was_asked_for(
    client: SignerClient, taskcluster: SimulatedTaskcluster
) -> None:
    task = taskcluster.create_task({"generateCertificate": True}, env={"DATA": "x" * 20_000})
    with pytest.raises(SignerRefused, match=r"unsignable.*task\.payload\.env\.DATA"):
        client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])


def test_a_caller_may_ask_for_some_forms_only(signer: Service, taskcluster: SimulatedTaskcluster) -> None:
    task = taskcluster.create_task()
    caller = RawCaller(signer.directory / "signer.sock", taskcluster.run_credentials(task))
    status, answer = caller.send(caller.body(task, forms=["ed25519"]))
    assert status == 200
    assert {entry["name"] for entry in answer["documents"]} == {
        "public/chain-of-trust.json",
        "public/chain-of-trust.json.sig",
    }
