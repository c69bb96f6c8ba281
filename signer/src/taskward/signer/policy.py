"""Whether a run may be signed for: values in, a decision out, no input or output of its own."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from taskward.signer.answers import ForbiddenError, TryLaterError
from taskward.signer.deployment import WorkerIdentity
from taskward.signer.names import DOCUMENT_NAMES
from taskward.signer.request import CertifyRequest
from taskward.signer.taskcluster import ListedArtifact

_STORED: Final = ("s3", "object")
_NAMES_IN_A_MESSAGE: Final = 5


@dataclass(frozen=True)
class Grant:
    """A run that may be signed for, with everything the documents say about it."""

    task_id: str
    run_id: int
    worker: WorkerIdentity
    definition: Mapping[str, Any]
    started: str
    """When the run started, in the queue's words."""
    wants_chain_of_trust: bool
    wants_certificate: bool


def check_scope(scopes: Collection[str], task_id: str, run_id: int) -> None:
    """Raises `ForbiddenError` unless `scopes` allow to resolve the run.

    Any scope of the task itself is worth nothing here, ``queue:create-artifact`` included: the task can use it
    through its proxy.
    """
    needed = f"queue:resolve-task:{task_id}/{run_id}"
    if not any(_satisfies(scope, needed) for scope in scopes):
        raise ForbiddenError("scope-missing", f"the credentials lack the scope {needed}")


def _satisfies(scope: str, needed: str) -> bool:
    return scope == needed or (scope.endswith("*") and needed.startswith(scope[:-1]))


def grant(
    request: CertifyRequest,
    status: Mapping[str, Any],
    definition: Mapping[str, Any],
    worker: WorkerIdentity,
    now: datetime,
) -> Grant:
    """Raises `ForbiddenError` unless this worker holds the run now and its task asks to be signed.

    `status` and `definition` are the queue's; `TryLaterError` when they are not in the queue's form.
    """
    try:
        run = held_run(request.task_id, request.run_id, status, worker, now)
        payload = definition["payload"]
        features = payload.get("features") or {}
        chain_of_trust = features.get("chainOfTrust") is True
        certificate = features.get("generateCertificate") is True
        started = str(run["started"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TryLaterError("queue-answer", f"the queue answered in an unknown form: {error!r}") from error
    if not chain_of_trust and not certificate:
        raise ForbiddenError("not-asked-for", "the task asks neither for chainOfTrust nor for generateCertificate")
    _check_environment(request.environment, payload)
    return Grant(request.task_id, request.run_id, worker, definition, started, chain_of_trust, certificate)


def held_run(
    task_id: str, run_id: int, status: Mapping[str, Any], worker: WorkerIdentity, now: datetime
) -> Mapping[str, Any]:
    """What the queue's `status` says of a run that `worker` holds now; raises `ForbiddenError` when it does not.

    KeyError, TypeError, AttributeError or ValueError mean that `status` is not in the queue's form.
    """
    runs = status["runs"]
    if not 0 <= run_id < len(runs):
        raise ForbiddenError("run-unknown", f"task {task_id} has no run {run_id}")
    if run_id != len(runs) - 1:
        raise ForbiddenError("run-superseded", f"run {run_id} is not the last run of {task_id}")
    run: Mapping[str, Any] = runs[run_id]
    if run["state"] != "running":
        raise ForbiddenError("run-not-running", f"the run is {run['state']}, it has to be running")
    holder = WorkerIdentity(_task_queue_id(status), run["workerGroup"], run["workerId"])
    if holder != worker:
        raise ForbiddenError("other-worker", f"the run belongs to {holder}, this process works for {worker}")
    if datetime.fromisoformat(run["takenUntil"]) <= now:
        raise ForbiddenError("claim-expired", f"the claim of the run expired at {run['takenUntil']}")
    return run


def _task_queue_id(status: Mapping[str, Any]) -> str:
    return str(status.get("taskQueueId") or f"{status['provisionerId']}/{status['workerType']}")


def _check_environment(environment: Mapping[str, str], payload: Mapping[str, Any]) -> None:
    image = payload.get("image")
    if environment and image is None:
        raise ForbiddenError("no-image", "the environment names an image, the task's payload has none")
    if "imageArtifactHash" in environment and not isinstance(image, dict):
        raise ForbiddenError("no-image-artifact", "the task's image is not an artifact of another task")


def check_artifacts(request: CertifyRequest, listed: Iterable[ListedArtifact]) -> None:
    """Raises `ForbiddenError` unless everything that the request names is a stored artifact of the run.

    Stored means that the queue lists it with a content of its own. More may be listed than named: what a task
    uploads by itself, through its proxy, is not certified (as generic-worker leaves it out, too).
    """
    stored = {artifact.name for artifact in listed if artifact.storage_type in _STORED}
    named = {artifact.name for artifact in request.artifacts}
    if documents := named & DOCUMENT_NAMES:
        raise ForbiddenError("reserved-name", f"a document cannot certify itself: {_some(documents)}")
    if unknown := named - stored:
        raise ForbiddenError("artifact-not-listed", f"the queue does not list for this run: {_some(unknown)}")


def _some(names: Collection[str]) -> str:
    shown = ", ".join(repr(name) for name in sorted(names)[:_NAMES_IN_A_MESSAGE])
    more = len(names) - _NAMES_IN_A_MESSAGE
    return f"{shown} and {more} more" if more > 0 else shown
