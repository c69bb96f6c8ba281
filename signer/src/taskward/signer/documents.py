"""The documents of a run, from the queue's data and the manifest alone; nothing here touches a key.

The forms are those of generic-worker: order of keys as in its Go structures (the task's own keys sorted, what is
inside of `payload` and `extra` as the queue has it), artifact names sorted, two spaces of indentation.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from taskward.signer import jsontext, names
from taskward.signer.answers import InvalidRequestError
from taskward.signer.cleartext import MAX_LINE_BYTES, UnclearTextError, check_clear
from taskward.signer.policy import Grant
from taskward.signer.provenance import statement
from taskward.signer.request import CertifyRequest

_CHAIN_OF_TRUST_VERSION: Final = 1
_SORTED_PARTS: Final = ("metadata", "tags")


@dataclass(frozen=True)
class Draft:
    """A body to be signed: `name` of the artifact that the signature ends in, and the form of the signature."""

    name: str
    form: str
    body: bytes


@dataclass(frozen=True)
class Omission:
    """A document that cannot be made for this task, and why."""

    name: str
    reason: str


def drafts(
    request: CertifyRequest, grant: Grant, environment: Mapping[str, str], root_url: str
) -> tuple[tuple[Draft, ...], tuple[Omission, ...]]:
    """What is to be signed, and what cannot be.

    OpenPGP clear-signing bears no line above 19 993 bytes, and a JSON string cannot be broken: a task with a
    longer string gets its ed25519 documents, and an `Omission` for each OpenPGP one. Raises
    `InvalidRequestError` when nothing is left to sign.
    """
    environment = {**environment, **request.environment}
    made: list[Draft] = []
    omitted: list[Omission] = []
    try:
        for draft in _wanted(request, grant, environment, root_url):
            if draft.form not in request.forms:
                continue
            if reason := _obstacle(draft):
                omitted.append(Omission(draft.name, reason))
            else:
                made.append(draft)
    except jsontext.BadJsonError as error:
        raise InvalidRequestError("unsignable", f"the task definition {error}") from error
    if not made:
        why = "; ".join(f"{omission.name}: {omission.reason}" for omission in omitted)
        raise InvalidRequestError("unsignable", why or "none of the forms asked for fits the task's features")
    return tuple(made), tuple(omitted)


def _wanted(request: CertifyRequest, grant: Grant, environment: Mapping[str, str], root_url: str) -> Iterator[Draft]:
    if grant.wants_chain_of_trust:
        text = jsontext.write(_chain_of_trust(request, grant, environment))
        provenance = jsontext.write(statement(request, grant, environment, root_url))
        yield Draft(names.CLEAR_SIGNED, "openpgp", f"{text}\n".encode())
        yield Draft(names.DOCUMENT, "ed25519", text.encode())
        yield Draft(names.PROVENANCE, "dsse", provenance.encode())
    if grant.wants_certificate:
        yield Draft(
            names.CERTIFICATE,
            "openpgp",
            f"{jsontext.write(_certificate(request, grant, environment))}\n".encode(),
        )


def _chain_of_trust(request: CertifyRequest, grant: Grant, environment: Mapping[str, str]) -> dict[str, Any]:
    artifacts = sorted(request.artifacts, key=lambda artifact: artifact.name)
    return {
        "chainOfTrustVersion": _CHAIN_OF_TRUST_VERSION,
        "artifacts": {artifact.name: {"sha256": artifact.sha256} for artifact in artifacts},
        **_run(grant),
        "environment": environment,
    }


def _certificate(request: CertifyRequest, grant: Grant, environment: Mapping[str, str]) -> dict[str, Any]:
    """The form before version 1: a list of artifacts, and the environment called ``extra``."""
    artifacts = sorted(request.artifacts, key=lambda artifact: artifact.name)
    return {
        "artifacts": [{"name": entry.name, "hash": f"sha256:{entry.sha256}"} for entry in artifacts],
        **_run(grant),
        "extra": environment,
    }


def _run(grant: Grant) -> dict[str, Any]:
    return {
        "task": _task(grant.definition),
        "taskId": grant.task_id,
        "runId": grant.run_id,
        "workerGroup": grant.worker.worker_group,
        "workerId": grant.worker.worker_id,
    }


def _task(definition: Mapping[str, Any]) -> dict[str, Any]:
    task = dict(sorted(definition.items()))
    for key in _SORTED_PARTS:
        if isinstance(task.get(key), dict):
            task[key] = dict(sorted(task[key].items()))
    return task


def _obstacle(draft: Draft) -> str:
    if draft.form != "openpgp":
        return ""
    try:
        check_clear(draft.body)
    except UnclearTextError as error:
        return f"{error}; the longest string is {_longest_field(jsontext.parse(draft.body))}"
    return ""


def _longest_field(document: Any) -> str:
    path, length = max(_strings(document, ""), key=lambda found: found[1])
    return f"{path} with {length} bytes (OpenPGP clear-signing takes lines of at most {MAX_LINE_BYTES})"


def _strings(value: Any, path: str) -> Iterator[tuple[str, int]]:
    if isinstance(value, dict):
        for key, item in value.items():
            step = f".{key}" if re.fullmatch(r"\w{1,64}", key) else f"[{key[:64]!r}]"
            yield f"{path}{step}".lstrip("."), len(jsontext.write(key).encode())
            yield from _strings(item, f"{path}{step}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, f"{path}[{index}]")
    else:
        yield path, len(jsontext.write(value).encode())
