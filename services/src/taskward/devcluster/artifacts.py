"""Artifacts: what a run leaves behind, by name, in one of five types of storage."""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from taskward.devcluster.clients import QUEUE_CLIENT_ID, Clients
from taskward.devcluster.clock import Clock, parse_instant, write_instant
from taskward.devcluster.credentials import create_temporary
from taskward.devcluster.database import Database
from taskward.devcluster.errors import InputError, InternalServerError, RequestConflict, ResourceNotFound
from taskward.devcluster.identifiers import new_slug
from taskward.devcluster.objects import Objects
from taskward.devcluster.shapes import Shape, check, instant, integer, record, text
from taskward.devcluster.signed_urls import PRIVATE_BUCKET, PUBLIC_BUCKET, SignedUrls
from taskward.devcluster.tasks import Run, Task, Tasks

#: A URL for an upload is announced to live so long; it lives ten seconds more.
UPLOAD_LIFETIME = timedelta(minutes=45)
_SIGNATURE_LIFETIME = UPLOAD_LIFETIME + timedelta(seconds=10)
_OBJECT_UPLOAD_LIFETIME = timedelta(hours=24)
#: How long after an exception artifacts may still be added, and how far ``expires`` may lie back.
_EXCEPTION_GRACE = timedelta(minutes=25)
_EXPIRES_DRIFT = timedelta(minutes=15)
#: The real queue stores longer names but cannot list a run that has one.
LONGEST_NAME = 1024

_REASONS = (
    "file-missing-on-worker",
    "invalid-resource-on-worker",
    "too-large-file-on-worker",
    "file-not-readable-on-worker",
)
_CONTENT_TYPE = text(longest=255)


def _body(required: dict[str, Shape], optional: dict[str, Shape] | None = None) -> Shape:
    return record({"storageType": text(), "expires": instant, **required}, optional)


_BODIES = {
    "s3": _body({"contentType": _CONTENT_TYPE}, {"contentLength": integer(0, 2**53)}),
    "object": _body({"contentType": _CONTENT_TYPE}, {"contentLength": integer(0, 2**53)}),
    "reference": _body({"contentType": _CONTENT_TYPE, "url": text(r"[^\s:]+:.+")}),
    "link": _body({"artifact": text()}, {"contentType": _CONTENT_TYPE}),
    "error": _body({"message": text(longest=4096), "reason": text(choices=_REASONS)}),
}


@dataclass(frozen=True)
class Artifact:
    """An artifact; ``present`` tells whether it can be read yet.

    ``details`` depends on the type: ``bucket`` and ``key``, ``url``, ``artifact``, ``reason`` and
    ``message``, or ``objectName`` and ``uploadId``.
    """

    task_id: str
    run_id: int
    name: str
    storage_type: str
    content_type: str
    content_length: int | None
    details: dict[str, str]
    expires: datetime
    present: bool

    def to_json(self) -> dict[str, Any]:
        """Return the artifact as it stands in a list."""
        document = {
            "storageType": self.storage_type,
            "name": self.name,
            "expires": write_instant(self.expires),
            "contentType": self.content_type,
        }
        return document if self.content_length is None else {**document, "contentLength": self.content_length}


class Artifacts:
    """The stored artifacts and the rules for making them."""

    def __init__(
        self, database: Database, tasks: Tasks, objects: Objects, clients: Clients, urls: SignedUrls, clock: Clock
    ) -> None:
        self._database = database
        self._tasks = tasks
        self._objects = objects
        self._clients = clients
        self._urls = urls
        self._clock = clock

    def create(self, task_id: str, run_id: int, name: str, body: Any) -> dict[str, Any]:
        """Make an artifact, or repeat that, and return where its bytes go.

        An artifact cannot be changed, but its expiry may be put off, and a reference may get another
        URL or become a link. Raises ``InputValidationError``, ``InputError``, and ``RequestConflict``
        when the run is over or the artifact is there in another form.
        """
        if not isinstance(body, dict) or body.get("storageType") not in _BODIES:
            check(record({"storageType": text(choices=list(_BODIES))}), body)
        check(_BODIES[body["storageType"]], body)
        with self._database.transaction():
            task, run = self._load_run(task_id, run_id)
            expires = parse_instant(body["expires"])
            self._check_times(task, run, expires)
            artifact = self._put(task, run, name, body, expires)
        if len(name) > LONGEST_NAME and artifact.storage_type != "s3":
            raise InternalServerError("Internal Server Error: the name is stored but too long for the reply")
        return self._reply(task, artifact)

    def finish(self, task_id: str, run_id: int, name: str, upload_id: str) -> None:
        """Make an artifact of type object readable, after its upload is finished. May be repeated.

        Raises ``ResourceNotFound`` and ``InputError``.
        """
        with self._database.transaction():
            artifact = self.find(task_id, run_id, name)
            if artifact is None:
                raise ResourceNotFound(f"Artifact with taskId `{task_id}`, runId {run_id}, name `{name}` not found")
            if artifact.storage_type != "object":
                raise InputError("Only object artifacts can be finished")
            if artifact.present:
                return
            if artifact.details["uploadId"] != upload_id:
                raise InputError("given uploadId does not match that for the artifact")
            if not self._objects.load(artifact.details["objectName"]).finished:
                raise InputError("Object storing artifact data does not exist: call object.finishUpload first")
            self._save(replace(artifact, present=True))

    def find(self, task_id: str, run_id: int, name: str) -> Artifact | None:
        """Return an artifact, readable or not, or None."""
        with self._database.transaction() as db:
            row = db.execute(
                "SELECT * FROM artifacts WHERE task_id = ? AND run_id = ? AND name = ?", (task_id, run_id, name)
            ).fetchone()
            return Artifact(**row) if row else None

    def list(self, task_id: str, run_id: int, after: str, limit: int) -> list[Artifact]:
        """Return artifacts by name, those that follow ``after``, readable or not.

        Raises ``ResourceNotFound``.
        """
        self._tasks.load(task_id).run(run_id)
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT * FROM artifacts WHERE task_id = ? AND run_id = ? AND name > ? ORDER BY name LIMIT ?",
                (task_id, run_id, after, limit),
            )
            return [Artifact(**row) for row in rows]

    def _load_run(self, task_id: str, run_id: int) -> tuple[Task, Run]:
        task = self._tasks.find(task_id)
        if task is None:
            raise InputError("Task not found")
        if run_id >= len(task.runs):
            raise InputError("Run not found")
        run = task.runs[run_id]
        if run.worker_id is None:
            raise InputError("Run was not claimed by a worker and so no artifacts can exist")
        return task, run

    def _check_times(self, task: Task, run: Run, expires: datetime) -> None:
        now = self._clock.now()
        if expires < now - _EXPIRES_DRIFT:
            raise InputError("Expires must be in the future")
        if expires > task.expires:
            raise InputError(
                f"Artifact expires ({write_instant(expires)}) after the task expiration "
                f"{write_instant(task.expires)} - this is not allowed, artifacts may not expire after the "
                "task they belong to expires"
            )
        late = run.state == "exception" and run.resolved and run.resolved > now - _EXCEPTION_GRACE
        if run.state != "running" and not late:
            raise RequestConflict(
                "Artifacts cannot be created for a task after it is resolved, unless it is resolved "
                f"'exception', and even in this case only up to 25 min past resolution.\nRun is {run.state}."
            )

    def _put(self, task: Task, run: Run, name: str, body: dict[str, Any], expires: datetime) -> Artifact:
        wanted = Artifact(
            task.task_id,
            run.run_id,
            name,
            body["storageType"],
            body.get("contentType", "application/binary"),
            body.get("contentLength"),
            _details(task.task_id, run.run_id, name, body),
            expires,
            body["storageType"] != "object",
        )
        existing = self.find(task.task_id, run.run_id, name)
        if wanted.storage_type == "object":
            self._reserve(task, wanted)
        if existing:
            _check_same(existing, wanted)
            wanted = replace(wanted, content_type=existing.content_type, content_length=existing.content_length)
        self._save(wanted)
        return wanted

    def _reserve(self, task: Task, artifact: Artifact) -> None:
        details = artifact.details
        try:
            self._objects.reserve(
                details["objectName"], task.definition["projectId"], details["uploadId"], artifact.expires
            )
        except RequestConflict as error:
            # The real queue does not expect this answer of the object service either.
            raise InternalServerError(f"Internal Server Error: {error}") from error

    def _save(self, artifact: Artifact) -> None:
        with self._database.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO artifacts VALUES (:task_id, :run_id, :name, :storage_type,"
                " :content_type, :content_length, :details, :expires, :present)",
                vars(artifact),
            )

    def _reply(self, task: Task, artifact: Artifact) -> dict[str, Any]:
        reply: dict[str, Any] = {"storageType": artifact.storage_type}
        details = artifact.details
        if artifact.storage_type == "s3":
            reply["contentType"] = artifact.content_type
            reply["expires"] = write_instant(self._clock.now() + UPLOAD_LIFETIME)
            reply["putUrl"] = self._urls.sign("PUT", details["bucket"], details["key"], _SIGNATURE_LIFETIME)
        if artifact.storage_type == "object":
            project_id, name = task.definition["projectId"], details["objectName"]
            reply |= {
                "name": name,
                "projectId": project_id,
                "uploadId": details["uploadId"],
                "expires": write_instant(artifact.expires),
                "credentials": self.object_credentials(
                    f"artifact-upload/{artifact.task_id}/{artifact.run_id}",
                    f"object:upload:{project_id}:{name}",
                    min(artifact.expires, self._clock.now() + _OBJECT_UPLOAD_LIFETIME),
                ),
            }
        return reply

    def object_credentials(self, client_id: str, scope: str, expires: datetime) -> dict[str, str]:
        """Return credentials with one scope for the object service."""
        issuer = self._clients.load(QUEUE_CLIENT_ID)
        return create_temporary(issuer, client_id, [scope], self._clock.now(), expires)


def is_public(name: str) -> bool:
    """Tell whether an artifact of this name lies in the public bucket."""
    return name.startswith("public/")


def _details(task_id: str, run_id: int, name: str, body: dict[str, Any]) -> dict[str, str]:
    match body["storageType"]:
        case "s3":
            bucket = PUBLIC_BUCKET if is_public(name) else PRIVATE_BUCKET
            return {"bucket": bucket, "key": f"{task_id}/{run_id}/{name}"}
        case "object":
            return {"objectName": f"t/{task_id}/{run_id}/{name}", "uploadId": new_slug()}
        case "reference":
            return {"url": body["url"]}
        case "link":
            return {"artifact": body["artifact"]}
        case _:
            return {"reason": body["reason"], "message": body["message"]}


def _check_same(existing: Artifact, wanted: Artifact) -> None:
    """An artifact stays what it is, but a reference may get another URL or become a link, and all may live longer."""
    before, after = existing.storage_type, wanted.storage_type
    same_type = existing.content_type == wanted.content_type or after == "link"
    same_content = before == after and (after == "reference" or existing.details == wanted.details)
    becomes_link = (before, after) == ("reference", "link")
    if not (same_type and (same_content or becomes_link)) or existing.expires > wanted.expires:
        known = {
            "storageType": before,
            "contentType": existing.content_type,
            "expires": write_instant(existing.expires),
        }
        raise RequestConflict(
            "Artifact already exists with different properties, and none of the allowed exceptions apply: "
            + json.dumps(known, indent=2)
        )
