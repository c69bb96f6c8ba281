"""What a signed document claims, whatever its form."""

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = 1
_INVOCATION = re.compile(r".+/tasks/(?P<task_id>[A-Za-z0-9_-]{22})/runs/(?P<run_id>\d+)")


class VerificationError(Exception):
    """Something is not as it has to be; the message says what. Do not use the artifacts."""


@dataclass(frozen=True)
class Claim:
    """This worker ran this run of this task, and these artifacts (name -> hex SHA-256) came out."""

    task_id: str
    run_id: int
    worker_group: str
    worker_id: str
    task: dict[str, Any]
    artifacts: dict[str, str]
    environment: dict[str, Any]


def parse_json(text: bytes) -> Any:
    """JSON without any ambiguity: UTF-8, no key twice, no NaN; raises `VerificationError`."""
    try:
        return json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"not acceptable as JSON: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key is given twice in one object")
    return table


def claim_of_chain_of_trust(text: bytes) -> Claim:
    """Of version 1; raises `VerificationError`."""
    document = parse_json(text)
    try:
        if document["chainOfTrustVersion"] != _VERSION:
            raise VerificationError(f"chainOfTrustVersion is {document['chainOfTrustVersion']!r}, not 1")
        hashes = {name: entry["sha256"] for name, entry in document["artifacts"].items()}
        return _claim(document, hashes, document["environment"])
    except (KeyError, TypeError, AttributeError) as error:
        raise VerificationError(f"not a chain-of-trust document: {error!r}") from error


def claim_of_certificate(text: bytes) -> Claim:
    """Of the form before version 1: a list of artifacts; raises `VerificationError`."""
    document = parse_json(text)
    try:
        names = [entry["name"] for entry in document["artifacts"]]
        hashes = {entry["name"]: entry["hash"].removeprefix("sha256:") for entry in document["artifacts"]}
        return _claim(document, _once(names, hashes), document["extra"])
    except (KeyError, TypeError, AttributeError) as error:
        raise VerificationError(f"not a certificate: {error!r}") from error


def claim_of_statement(text: bytes) -> Claim:
    """Of an in-toto statement with SLSA v1 provenance; raises `VerificationError`."""
    statement = parse_json(text)
    try:
        if (statement["_type"], statement["predicateType"]) != (
            "https://in-toto.io/Statement/v1",
            "https://slsa.dev/provenance/v1",
        ):
            raise VerificationError("not an in-toto statement v1 with SLSA provenance v1")
        names = [subject["name"] for subject in statement["subject"]]
        hashes = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
        build = statement["predicate"]["buildDefinition"]
        parameters = build["internalParameters"]
        _check_invocation(statement["predicate"]["runDetails"]["metadata"]["invocationId"], parameters)
        document = {"task": build["externalParameters"]["task"], **parameters}
        return _claim(document, _once(names, hashes), parameters["environment"])
    except (KeyError, TypeError, AttributeError) as error:
        raise VerificationError(f"not a provenance statement: {error!r}") from error


def _check_invocation(invocation_id: str, parameters: dict[str, Any]) -> None:
    match = _INVOCATION.fullmatch(invocation_id)
    if match is None or (match["task_id"], int(match["run_id"])) != (parameters["taskId"], parameters["runId"]):
        raise VerificationError(f"the invocation {invocation_id!r} is not that of the stated run")


def _once(names: list[str], hashes: dict[str, str]) -> dict[str, str]:
    if len(names) != len(hashes):
        raise VerificationError("an artifact is listed twice")
    return hashes


def _claim(document: dict[str, Any], hashes: dict[str, str], environment: Any) -> Claim:
    for name, sha256 in hashes.items():
        if not _SHA256.fullmatch(sha256):
            raise VerificationError(f"artifact {name!r} has no SHA-256 of 64 lower-case hex digits")
    claim = Claim(
        task_id=document["taskId"],
        run_id=document["runId"],
        worker_group=document["workerGroup"],
        worker_id=document["workerId"],
        task=document["task"],
        artifacts=hashes,
        environment=environment,
    )
    texts = (claim.task_id, claim.worker_group, claim.worker_id)
    if not all(isinstance(text, str) for text in texts) or type(claim.run_id) is not int:
        raise VerificationError("taskId, runId, workerGroup or workerId has the wrong type")
    if not isinstance(claim.task, dict) or not isinstance(claim.environment, dict):
        raise VerificationError("task or environment is not an object")
    return claim
