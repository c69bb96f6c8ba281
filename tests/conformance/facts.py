"""What Taskcluster's own schemas and routes demand of the calls that a worker makes, and promise of their answers.

Facts of github.com/taskcluster/taskcluster as of 2026, in our own words: `services/SERVICE/src/api.js` and
`artifacts.js` for routes, parameters and queries, `services/SERVICE/schemas/` for bodies; each call below names its
schema. Every schema there refuses properties that it does not know, so these do, too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonschema

Schema = Mapping[str, Any]

SLUG = "[A-Za-z0-9_-]{8}[Q-T][A-Za-z0-9_-][CGKOSWaeimquy26-][A-Za-z0-9_-]{10}[AQgw]"
_IDENTIFIER = "[a-zA-Z0-9_-]{1,38}"
_WORKER_TYPE = "[a-z]([-a-z0-9]{0,36}[a-z0-9])?"
_QUEUE = f"{_IDENTIFIER}/{_WORKER_TYPE}"
_RUN = "[1-9]*[0-9]+"
_PRINTABLE = "[\x20-\x7e]+"
_NAMESPACE = "([a-zA-Z0-9_!~*'()%-]+[.])*[a-zA-Z0-9_!~*'()%-]+"


def text(pattern: str = "[^\0]*", longest: int = 1 << 20) -> Schema:
    return {"type": "string", "pattern": f"^(?:{pattern})$", "maxLength": longest}


def number(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def choice(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def each(item: Schema, longest: int = 1 << 20, *, unique: bool = False) -> Schema:
    return {"type": "array", "items": item, "maxItems": longest, "uniqueItems": unique}


def table(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def one_of(*shapes: Schema) -> Schema:
    return {"oneOf": list(shapes)}


ANY: Schema = {"type": "object"}
TIME: Schema = {"type": "string", "format": "date-time"}
URL: Schema = {"type": "string", "format": "uri"}
_CONTENT_TYPE = text(longest=255)
_LENGTH = number(0, 2**53)
_IDENTITY = {"workerGroup": text(_IDENTIFIER), "workerId": text(_IDENTIFIER)}
_PRIORITY = choice("highest", "very-high", "high", "medium", "low", "very-low", "lowest", "normal")
_SCOPES = each(text("[\x20-\x7e]*"))

_METADATA = table(
    {
        "name": text(longest=255),
        "description": text(longest=32768),
        "owner": text(longest=255),
        "source": text("(https?://|ssh://|git@).*", 4096),
    }
)
_TASK_OPTIONS = {
    "provisionerId": text(_IDENTIFIER),
    "workerType": text(_WORKER_TYPE),
    "taskQueueId": text(_QUEUE),
    "schedulerId": text(_IDENTIFIER),
    "projectId": text("[a-zA-Z0-9._/-]{1,500}"),
    "taskGroupId": text(SLUG),
    "dependencies": each(text(SLUG), 10_000, unique=True),
    "requires": choice("all-completed", "all-resolved"),
    "routes": each({**text(longest=249), "minLength": 1}, 64, unique=True),
    "priority": _PRIORITY,
    "retries": number(0, 49),
    "expires": TIME,
    "scopes": _SCOPES,
    "tags": {"type": "object", "additionalProperties": text(longest=4096)},
    "extra": ANY,
}
_TASK_ESSENCE = {"created": TIME, "deadline": TIME, "payload": ANY, "metadata": _METADATA}
#: task.yml; `expires` and `projectId` may be missing.
TASK = table(
    {**{key: value for key, value in _TASK_OPTIONS.items() if key not in ("expires", "projectId")}, **_TASK_ESSENCE},
    {key: _TASK_OPTIONS[key] for key in ("expires", "projectId")},
)
_RUN_STATUS = table(
    {
        "runId": number(0, 1000),
        "state": choice("pending", "running", "completed", "failed", "exception"),
        "reasonCreated": choice("scheduled", "retry", "task-retry", "rerun", "exception"),
        "scheduled": TIME,
    },
    {
        "reasonResolved": choice(
            "completed", "failed", "deadline-exceeded", "canceled", "claim-expired", "worker-shutdown",
            "malformed-payload", "resource-unavailable", "internal-error", "intermittent-task", "superseded",
        ),
        **_IDENTITY, "takenUntil": TIME, "started": TIME, "resolved": TIME,
    },
)  # fmt: skip
#: task-status.yml
STATUS = table(
    {
        "taskId": text(SLUG),
        **{key: _TASK_OPTIONS[key] for key in ("provisionerId", "workerType", "taskQueueId", "schedulerId",
                                               "projectId", "taskGroupId", "expires")},
        "deadline": TIME,
        "retriesLeft": number(0, 999),
        "state": choice("unscheduled", "pending", "running", "completed", "failed", "exception"),
        "runs": each(_RUN_STATUS, unique=True),
    },
    {"priority": _PRIORITY},
)  # fmt: skip
STATUS_ANSWER = table({"status": STATUS})
_CREDENTIALS = table({key: {**text(), "minLength": 1} for key in ("clientId", "accessToken", "certificate")})
_CLAIM = {"status": STATUS, "runId": number(0, 1000), **_IDENTITY, "takenUntil": TIME, "credentials": _CREDENTIALS}
_STORED = {"expires": TIME, "contentType": _CONTENT_TYPE}
_WITH_LENGTH = {"contentLength": _LENGTH}
_REASON = choice(
    "file-missing-on-worker", "invalid-resource-on-worker", "too-large-file-on-worker", "file-not-readable-on-worker"
)
#: post-artifact-request.yml
ARTIFACT_WISH = one_of(
    table({"storageType": choice("s3"), **_STORED}, _WITH_LENGTH),
    table({"storageType": choice("object"), **_STORED}, _WITH_LENGTH),
    table({"storageType": choice("reference"), **_STORED, "url": URL}),
    table({"storageType": choice("link"), "expires": TIME, "artifact": text()}, {"contentType": _CONTENT_TYPE}),
    table({"storageType": choice("error"), "expires": TIME, "reason": _REASON, "message": text(longest=4096)}),
)
_OBJECT_REPLY = {
    "name": text(), "projectId": text(), "uploadId": text(SLUG), "expires": TIME, "credentials": _CREDENTIALS,
}  # fmt: skip
#: post-artifact-response.yml
ARTIFACT_REPLY = one_of(
    table({"storageType": choice("s3"), "putUrl": URL, "expires": TIME, "contentType": _CONTENT_TYPE}),
    table({"storageType": choice("object"), **_OBJECT_REPLY}),
    table({"storageType": choice("reference", "link", "error")}),
)
#: artifact-response.yml
ARTIFACT = table(
    {
        "storageType": choice("s3", "object", "reference", "link", "error"),
        "name": text(longest=1024),
        **_STORED,
    },
    _WITH_LENGTH,
)
_HASHES: Schema = {
    "type": "object",
    "properties": {"sha256": text("[a-z0-9]{64}"), "sha512": text("[a-z0-9]{128}")},
}
_UPLOAD = {"projectId": text("[a-zA-Z0-9._/-]{1,500}"), "uploadId": text(SLUG)}
_METHODS = {
    "dataInline": table({"contentType": text(), "objectData": text(longest=10926)}),
    "putUrl": table({"contentType": text(), "contentLength": {"type": "integer"}}),
}
_CHOSEN = {
    "dataInline": {"const": True},
    "putUrl": table({"url": URL, "expires": TIME, "headers": {"type": "object", "additionalProperties": text()}}),
}
#: The body of every refusal, libraries/api/src/middleware/express-error.js.
ERROR = table(
    {
        "code": choice(
            "MalformedPayload", "InvalidRequestArguments", "InputValidationError", "InputError",
            "AuthenticationFailed", "InsufficientScopes", "ResourceNotFound", "RequestConflict", "ResourceExpired",
            "InputTooLarge", "InternalServerError", "NoMatchingMethod", "NoMatchingBackend", "NoSuchMethod",
        ),
        "message": text(),
    },
    {"requestInfo": ANY},
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One method of a service; `route` is a pattern for the decoded path below ``/api/``.

    `body` is None where the service takes none, `answer` where it promises no JSON.
    """

    name: str
    method: str
    route: str
    schema: str
    body: Schema | None = None
    answer: Schema | None = None
    query: Mapping[str, str] = field(default_factory=dict)

    def matches(self, method: str, path: str) -> bool:
        return self.method == method and re.fullmatch(self.route, path) is not None


_PAGES = {"continuationToken": ".+", "limit": "[0-9]+"}
_TASK_PATH = f"queue/v1/task/{SLUG}"
_RUN_PATH = f"{_TASK_PATH}/runs/{_RUN}"
_ARTIFACT_PATH = f"{_RUN_PATH}/artifacts/{_PRINTABLE}"
_QUEUE_SCHEMAS = "services/queue/schemas/v1"

CALLS = (
    Call("claimWork", "POST", f"queue/v1/claim-work/{_QUEUE}", f"{_QUEUE_SCHEMAS}/claim-work-request.yml",
         table(_IDENTITY, {"tasks": number(1, 32)}), table({"tasks": each(table({**_CLAIM, "task": TASK}), 32)})),
    Call("reclaimTask", "POST", f"{_RUN_PATH}/reclaim", f"{_QUEUE_SCHEMAS}/task-reclaim-response.yml",
         answer=table(_CLAIM)),
    Call("reportCompleted", "POST", f"{_RUN_PATH}/completed", f"{_QUEUE_SCHEMAS}/task-status-response.yml",
         answer=STATUS_ANSWER),
    Call("reportFailed", "POST", f"{_RUN_PATH}/failed", f"{_QUEUE_SCHEMAS}/task-status-response.yml",
         answer=STATUS_ANSWER),
    Call("reportException", "POST", f"{_RUN_PATH}/exception", f"{_QUEUE_SCHEMAS}/task-exception-request.yml",
         table({"reason": choice("worker-shutdown", "malformed-payload", "resource-unavailable", "internal-error",
                                 "superseded", "intermittent-task")}), STATUS_ANSWER),
    Call("status", "GET", f"{_TASK_PATH}/status", f"{_QUEUE_SCHEMAS}/task-status.yml", answer=STATUS_ANSWER),
    Call("task", "GET", _TASK_PATH, f"{_QUEUE_SCHEMAS}/task.yml", answer=TASK),
    Call("createTask", "PUT", _TASK_PATH, f"{_QUEUE_SCHEMAS}/create-task-request.yml",
         table(_TASK_ESSENCE, _TASK_OPTIONS), STATUS_ANSWER),
    Call("createArtifact", "POST", _ARTIFACT_PATH, f"{_QUEUE_SCHEMAS}/post-artifact-request.yml",
         ARTIFACT_WISH, ARTIFACT_REPLY),
    Call("finishArtifact", "PUT", _ARTIFACT_PATH, f"{_QUEUE_SCHEMAS}/finish-artifact-request.yml",
         table({"uploadId": text(SLUG)})),
    Call("getArtifact", "GET", _ARTIFACT_PATH, f"{_QUEUE_SCHEMAS}/get-artifact-response.yml",
         answer=one_of(table({"storageType": choice("s3", "object", "reference"), "url": URL}),
                       table({"reason": text(), "message": text()}))),
    Call("getLatestArtifact", "GET", f"{_TASK_PATH}/artifacts/{_PRINTABLE}",
         f"{_QUEUE_SCHEMAS}/get-artifact-response.yml",
         answer=one_of(table({"storageType": choice("s3", "object", "reference"), "url": URL}),
                       table({"reason": text(), "message": text()}))),
    Call("listArtifacts", "GET", f"{_RUN_PATH}/artifacts", f"{_QUEUE_SCHEMAS}/list-artifacts-response.yml",
         answer=table({"artifacts": each(ARTIFACT)}, {"continuationToken": text()}), query=_PAGES),
    Call("createUpload", "PUT", f"object/v1/upload/{_PRINTABLE}",
         "services/object/schemas/v1/create-upload-request.yml",
         table({**_UPLOAD, "expires": TIME, "proposedUploadMethods": table({}, _METHODS)}, {"hashes": _HASHES}),
         table({**_UPLOAD, "expires": TIME, "uploadMethod": table({}, _CHOSEN)})),
    Call("finishUpload", "POST", f"object/v1/finish-upload/{_PRINTABLE}",
         "services/object/schemas/v1/finish-upload-request.yml", table(_UPLOAD, {"hashes": _HASHES}), ANY),
    Call("authenticateHawk", "POST", "auth/v1/authenticate-hawk",
         "services/auth/schemas/v1/authenticate-hawk-request.yml",
         table({"method": text("[a-z-]+"), "resource": text("/.*"), "host": text(), "port": number(0, 65535)},
               {"authorization": text(), "sourceIp": text()})),
    Call("expandScopes", "POST", "auth/v1/scopes/expand", "services/auth/schemas/v1/scopeset.yml",
         table({"scopes": _SCOPES}), table({"scopes": _SCOPES})),
    Call("currentScopes", "GET", "auth/v1/scopes/current", "services/auth/schemas/v1/scopeset.yml",
         answer=table({"scopes": _SCOPES})),
    Call("findTask", "GET", f"index/v1/task/{_NAMESPACE}", "services/index/schemas/v1/indexed-task-response.yml",
         answer=table({"namespace": text(longest=255), "taskId": text(SLUG), "rank": {"type": "number"},
                       "data": ANY, "expires": TIME})),
    Call("purgeRequests", "GET", f"purge-cache/v1/purge-cache/{_QUEUE}",
         "services/purge-cache/schemas/v1/purge-cache-request-list.yml",
         answer=table({"requests": each(table({"provisionerId": text(_IDENTIFIER), "workerType": text(_WORKER_TYPE),
                                               "cacheName": text(), "before": TIME}))}, {"cacheHit": {}}),
         query={"since": r"\d{4}-\d\d-\d\dT.*"}),
    Call("ping", "GET", "[a-z-]+/v1/ping", "libraries/api/src/ping.js"),
)  # fmt: skip


def call_of(method: str, path: str) -> Call | None:
    """The call that a request is, if a worker makes it."""
    return next((call for call in CALLS if call.matches(method, path)), None)


_formats = jsonschema.FormatChecker(formats=())


@_formats.checks("date-time")
def _is_time(value: object) -> bool:
    """RFC 3339, which wants an offset."""
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.]\d+)?(Z|[+-]\d\d:\d\d)"
    return not isinstance(value, str) or re.fullmatch(pattern, value) is not None


@_formats.checks("uri")
def _is_uri(value: object) -> bool:
    """RFC 3986: a scheme, and no character that has to be escaped."""
    pattern = r"[a-zA-Z][a-zA-Z0-9+.-]*:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+"
    return not isinstance(value, str) or re.fullmatch(pattern, value) is not None


def faults(schema: Schema, value: Any) -> list[str]:
    """What is wrong with `value`, in the validator's words; empty when nothing is."""
    validator = jsonschema.Draft6Validator(schema, format_checker=_formats)
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]
