"""A thin client of the Taskcluster services that a worker calls: keep-alive, time-outs, bounded answers, few retries.

The `taskcluster` package opens a connection per call, has no time-outs and does not retry 429 (ADR 2); everything that
is not on a worker's path uses it. Credentials are given with each call, since a run's change while it runs.
"""

import base64
import http.client
import json
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

from taskward.core import hawk
from taskward.core.errors import Conflict, Refused, Unreachable
from taskward.core.http1 import Answer, Line, Origin, Pool, head
from taskward.core.nesting import shallow
from taskward.core.retries import retried, wished_s

MAX_ANSWER_BYTES: Final = 64 << 20
_JSON: Final = "application/json"
_RETRIED: Final = frozenset({408, 425, 429})
_TELL_WHEN: Final = frozenset({429, 503})


@dataclass(frozen=True)
class Credentials:
    """What a call is signed with; `certificate` is JSON text or empty."""

    client_id: str
    access_token: str
    certificate: str = ""

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the queue's spelling (clientId, accessToken, certificate)."""
        certificate = data.get("certificate") or ""
        text = certificate if isinstance(certificate, str) else json.dumps(certificate)
        return cls(str(data["clientId"]), str(data["accessToken"]), text)

    def __repr__(self) -> str:
        return f"Credentials({self.client_id!r})"

    def sign(self, method: str, url: str, content: bytes = b"", content_type: str = "") -> str:
        """A Hawk Authorization header, with a hash of the content when there is any."""
        ext = f'{{"certificate":{self.certificate}}}' if self.certificate else "{}"
        packed = base64.b64encode(ext.encode()).decode()
        return hawk.header(self.client_id, self.access_token, method, url, content, content_type, packed)


class Taskcluster:
    """Calls services of one deployment; safe to share between threads."""

    def __init__(self, root_url: str, *, timeout_s: float = 30.0, give_up_after_s: float = 300.0,
                 ca_file: str | None = None, stop: threading.Event | None = None) -> None:  # fmt: skip
        self.root_url = root_url.rstrip("/")
        self._timeout_s, self._give_up_after_s = timeout_s, give_up_after_s
        self._stop = stop or threading.Event()
        parts = urlsplit(self.root_url)
        secure = parts.scheme == "https"
        self._origin = Origin(parts.scheme, parts.hostname or "", parts.port or (443 if secure else 80))
        self._host = parts.netloc
        tls = ssl.create_default_context(cafile=ca_file) if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._pool = Pool(tls)

    def call(self, method: str, service: str, path: str, credentials: Credentials | None = None,
             body: Mapping[str, Any] | None = None, *, timeout_s: float | None = None,
             give_up_after_s: float | None = None, line: Line | None = None) -> dict[str, Any]:  # fmt: skip
        """The JSON answer of ``/api/<service>/v1/<path>``; retried while nothing was decided, as the service wishes.

        Args:
            method: HTTP method.
            service: for example ``queue``.
            path: quoted by the caller (`segment`).
            credentials: who signs; None for an anonymous call.
            body: sent as JSON.
            timeout_s: how long one answer may take.
            give_up_after_s: how long to go on trying; 0 tries once.
            line: by which another thread may end the call.

        Raises:
            Conflict, Refused: Taskcluster said no.
            Unreachable: no usable answer in that time; the call may or may not have happened.
        """
        url = f"{self.root_url}/api/{service}/v1/{path}"
        limit = self._give_up_after_s if give_up_after_s is None else give_up_after_s
        deadline = time.monotonic() + limit

        def attempt() -> dict[str, Any]:
            return self._once(method, url, credentials, body, timeout_s or self._timeout_s, line)

        return retried(attempt, deadline, self._stop)

    def _once(self, method: str, url: str, credentials: Credentials | None, body: Mapping[str, Any] | None,
              timeout_s: float, line: Line | None) -> dict[str, Any]:  # fmt: skip
        content = json.dumps(body).encode() if body is not None else b""
        fields = {"Host": self._host, "Accept-Encoding": "identity", "User-Agent": "taskward"}
        if method != "GET":
            fields["Content-Length"] = str(len(content))
        if content:
            fields["Content-Type"] = _JSON
        if credentials:
            fields["Authorization"] = credentials.sign(method, url, content, _JSON if content else "")
        try:
            answer = self._ask(method, head(method, url[len(self.root_url) :], fields) + content, timeout_s, line)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(f"{method} {url}: {type(error).__name__}: {error}") from error
        wait_s = wished_s(answer.retry_after) if answer.status in _TELL_WHEN else 0.0
        return _decode(f"{method} {url}", answer.status, answer.content, wait_s)

    def _ask(self, method: str, request: bytes, timeout_s: float, line: Line | None) -> Answer:
        connection = self._pool.take(self._origin)
        try:
            with line.holding(connection) if line else nullcontext():
                connection.begin(timeout_s)
                connection.send(request)
                return connection.answer(method, MAX_ANSWER_BYTES + 1)
        finally:
            self._pool.give_back(self._origin, connection)


def segment(text: str) -> str:
    """One part of a path, quoted whole."""
    return quote(text, safe="")


def _decode(what: str, status: int, text: bytes, retry_after_s: float = 0.0) -> dict[str, Any]:
    """A service of Taskcluster answers every call with a JSON object, or with nothing when it has done it (204).

    Anything else comes from what stands between (a load balancer, a gateway, a sign-in page): nothing was decided.
    """
    if len(text) > MAX_ANSWER_BYTES:
        raise Unreachable(f"{what}: the answer is larger than {MAX_ANSWER_BYTES} bytes", status)
    try:
        data = json.loads(shallow(text)) if text.strip() else None
    except (ValueError, RecursionError):
        data = None
    if 300 <= status < 400:
        raise Unreachable(f"{what}: {status}: a redirect, which no call here leads to: is the root URL right?", status)
    if status < 300 and not text.strip():
        return {}
    if status >= 500 or status in _RETRIED or not isinstance(data, dict):
        raise Unreachable(f"{what}: {status}: {text[:200]!r}", status, retry_after_s)
    if status < 300:
        return data
    kind = Conflict if status == 409 else Refused
    raise kind(status, str(data.get("code", "unknown")), f"{what}: {str(data.get('message', ''))[:2000]}")
