"""What every route needs of its request: the caller, the body, the checked parts of the path."""

import json
import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

from flask import Response, current_app, g, request
from werkzeug.exceptions import ClientDisconnected, HTTPException
from werkzeug.routing import BaseConverter

from taskward.devcluster.authentication import Authenticator, Caller
from taskward.devcluster.cluster import Cluster
from taskward.devcluster.errors import (
    AuthenticationFailed,
    InternalServerError,
    InvalidRequestArguments,
    MalformedPayload,
)
from taskward.devcluster.hawk import SignedRequest, matches
from taskward.devcluster.identifiers import (
    GENERIC,
    NAMESPACE,
    PRINTABLE,
    RUN,
    SLUG,
    TASK_QUEUE,
    WORKER_POOL,
    WORKER_TYPE,
)
from taskward.devcluster.names import camel_case
from taskward.devcluster.shapes import Shape, check

_LARGEST_BODY_BYTES = 10 * 1024 * 1024
_LONGEST_PAGE = 1000
#: No task ever has so many runs; keeps absurd numbers out of SQLite.
_ABSURD_RUN = 2**31
#: Stands for an encoded slash; a private character, which no identifier may have.
_SLASH = "\ue000"

_FORMS = {
    "task_id": SLUG,
    "task_group_id": SLUG,
    "run_id": RUN,
    "name": PRINTABLE,
    "task_queue_id": TASK_QUEUE,
    "provisioner_id": GENERIC,
    "worker_type": WORKER_TYPE,
    "worker_group": GENERIC,
    "worker_id": GENERIC,
    "worker_pool_id": WORKER_POOL,
    "namespace": NAMESPACE,
    "index_path": NAMESPACE,
}
_PATTERNS = {name: re.compile(form) for name, form in _FORMS.items()}

T = TypeVar("T")


class AnyText(BaseConverter):
    """A part of a path that may hold slashes, and anything else."""

    regex = r"[\s\S]+?"
    part_isolating = False


class Pair(BaseConverter):
    """Two parts of a path with a slash between them, as in task queues and worker pools."""

    regex = r"[^/]*/[^/]*"
    part_isolating = False


def cluster() -> Cluster:
    """Return the cluster that the application serves."""
    return cast("Cluster", current_app.extensions["cluster"])


def caller() -> Caller:
    """Return who calls; raises ``AuthenticationFailed``."""
    if "caller" not in g:
        g.caller = authenticate(cluster().authenticator)
    return cast("Caller", g.caller)


def authenticate(authenticator: Authenticator) -> Caller:
    """Return who calls, by an authenticator; raises ``AuthenticationFailed``, also for another body than was signed."""
    found = authenticator.authenticate(_signed_request(), request.headers.get("Authorization", ""))
    if found.payload_hash and not matches(found.payload_hash, _content(), request.headers.get("Content-Type", "")):
        raise AuthenticationFailed(
            f"Invalid payload hash: {found.payload_hash}\nThe hash of the payload that is signed is not that of the "
            "payload that came."
        )
    return found


def body(shape: Shape) -> Any:
    """Return the JSON body, checked.

    Raises ``MalformedPayload`` and ``InputValidationError``, and ``InternalServerError`` when it is
    larger than 10 MiB, as the real services do.
    """
    content = _content()
    if request.mimetype != "application/json":
        raise MalformedPayload(f"Payload must be JSON with content-type: application/json, got {request.mimetype!r}")
    try:
        parsed = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise MalformedPayload(f"Failed to parse the body as JSON: {error}") from None
    check(shape, parsed)
    return parsed


def sent() -> Any:
    """Return what the body holds, for the ``requestInfo`` of an error: ``{}`` when that is nothing, or not JSON.

    The value of a secret is left out, as the real service does.
    """
    if request.mimetype != "application/json" or not request.path.startswith("/api/"):
        return {}
    try:
        parsed = json.loads(_content(), parse_constant=_refuse)
    except (ValueError, RecursionError, InternalServerError, ClientDisconnected):
        return {}
    if request.blueprint == "secrets" and isinstance(parsed, dict) and "secret" in parsed:
        parsed["secret"] = "(OMITTED)"  # noqa: S105 - says that there is none
    return parsed


def _content() -> bytes:
    """The whole body, read once."""
    announced_bytes = request.content_length or 0
    if "content" not in g and announced_bytes <= _LARGEST_BODY_BYTES:
        g.content = request.stream.read(_LARGEST_BODY_BYTES + 1)
    if max(announced_bytes, len(g.get("content", b""))) > _LARGEST_BODY_BYTES:
        raise InternalServerError("Internal Server Error: request entity too large")
    return cast("bytes", g.content)


def reply(document: Any, status: int = 200) -> Response:
    """Return a document as JSON."""
    return Response(json.dumps(document, separators=(",", ":")), status, mimetype="application/json")


def check_path(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Check the parts of the path that have a prescribed form, by their names.

    Raises ``InvalidRequestArguments``.
    """
    faults = [
        f"URL parameter '{camel_case(name)}' given as {values[name]!r} must match regular expression: "
        f"'/^{pattern.pattern}$/'"
        for name, pattern in _PATTERNS.items()
        if values and values.get(name) and not pattern.fullmatch(values[name])
    ]
    if faults:
        raise InvalidRequestArguments("\n".join(["Invalid URL patterns:", *faults]))
    if values and "run_id" in values:
        digits = values["run_id"]
        values["run_id"] = int(digits) if len(digits) < 10 else _ABSURD_RUN


def check_slashes() -> None:
    """Check the parts of a path that no call has, taken apart before it is decoded, as the real services do.

    Raises ``InvalidRequestArguments`` for a part with a slash in it (``%2F``), where there may be none.
    """
    parts = urlsplit(str(request.environ.get("RAW_URI", ""))).path.split("/")
    path = "/".join(unquote(part).replace("/", _SLASH) for part in parts)
    if _SLASH not in path:
        return
    try:
        rule, values = current_app.url_map.bind("").match(path, request.method, return_rule=True)
    except HTTPException:
        return
    request.url_rule = rule
    request.view_args = {name: value.replace(_SLASH, "/") for name, value in values.items()}
    check_path(rule.endpoint, request.view_args)


@dataclass(frozen=True)
class Page:
    """Which part of a list is wanted: ``limit`` entries that follow the one with the key ``after``."""

    after: str
    limit: int

    @staticmethod
    def of_query() -> "Page":
        """Read ``limit`` and ``continuationToken``; raises ``InvalidRequestArguments``."""
        limit, token = request.args.get("limit", "1000"), request.args.get("continuationToken", "")
        try:
            after = b64decode(token, altchars=b"-_", validate=True).decode()
            return Page(after, max(1, min(int(limit[:9]), _LONGEST_PAGE)))
        except ValueError:
            raise InvalidRequestArguments("Query: limit must be a number, continuationToken as received") from None

    def list(
        self, name: str, fetch: Callable[[str, int], Sequence[T]], key: Callable[[T], str],
        show: Callable[[T], Any] = lambda entry: entry,
    ) -> dict[str, Any]:  # fmt: skip
        """Fetch the part and return it as ``{name: […]}``, with a token when there is more."""
        found = fetch(self.after, self.limit + 1)
        shown = found[: self.limit]
        document: dict[str, Any] = {name: [show(entry) for entry in shown]}
        if len(found) > self.limit:
            document["continuationToken"] = urlsafe_b64encode(key(shown[-1]).encode()).decode()
        return document


def _signed_request() -> SignedRequest:
    raw = str(request.environ.get("RAW_URI", ""))
    parts = urlsplit(raw) if not raw.startswith("/") else None
    resource = f"{parts.path}?{parts.query}".rstrip("?") if parts else raw
    host, _, port = request.host.rpartition(":") if ":" in request.host else (request.host, "", "80")
    return SignedRequest(request.method, resource, host, int(port) if port.isdigit() else 80)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
