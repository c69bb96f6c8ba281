"""The four questions that the signer puts to Taskcluster.

Every call has a time limit, is repeated with jitter when the service has trouble, follows no redirect, uses no
proxy of the environment, and reads a bounded answer. What cannot be asked is not assumed: `TryLaterError`.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import mohawk
import urllib3

from taskward.signer import jsontext
from taskward.signer.answers import ForbiddenError, TryLaterError, UnauthenticatedError

_HAWK_SENDER: Final[Any] = mohawk.Sender  # has no types, and checkers guess wrong ones
_ATTEMPTS: Final = 4
_FIRST_PAUSE_S: Final = 0.2
_TIMEOUT = urllib3.Timeout(connect=5, read=15)
_MAX_ANSWER_BYTES: Final = 24 * 1024 * 1024
_PAGE_ENTRIES: Final = 1000
_MAX_PAGES: Final = 200
_TROUBLE: Final = 500
_TOO_MANY: Final = 429


@dataclass(frozen=True)
class ListedArtifact:
    """What the queue says about one artifact of a run."""

    name: str
    storage_type: str


@dataclass(frozen=True)
class SignedCall:
    """A request whose Hawk header somebody wants to have checked."""

    method: str
    resource: str
    host: str
    port: int
    authorization: str


class Taskcluster:
    """A reader of one Taskcluster, safe for use by several threads.

    Every question raises `TryLaterError` when Taskcluster does not answer it, or not in its own form, after all tries;
    those about a run raise `ForbiddenError` when the queue does not know it.
    """

    def __init__(
        self,
        root_url: str,
        credentials: tuple[str, str] | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._root_url = root_url
        self._credentials = credentials
        self._pause = pause
        self._pool = urllib3.PoolManager(retries=False, timeout=_TIMEOUT)

    def scopes(self, call: SignedCall) -> tuple[str, ...]:
        """What the signer of `call` may do, says the auth service; `UnauthenticatedError` when it is nobody."""
        url = f"{self._root_url}/api/auth/v1/authenticate-hawk"
        status, answer = self._ask("POST", url, jsontext.canonical(vars(call)), {})
        if status != 200 or answer.get("status") != "auth-success":
            raise UnauthenticatedError("authentication-failed", str(answer.get("message", answer))[:500])
        with _expected(url):
            return tuple(str(scope) for scope in answer["scopes"])

    def status(self, task_id: str) -> dict[str, Any]:
        """The ``status`` object of a task."""
        path = f"task/{task_id}/status"
        with _expected(path):
            return dict(self._read(path)["status"])

    def definition(self, task_id: str) -> dict[str, Any]:
        """The task definition."""
        return self._read(f"task/{task_id}")

    def artifacts(self, task_id: str, run_id: int) -> Iterator[ListedArtifact]:
        """All artifacts of a run."""
        token = ""
        for _ in range(_MAX_PAGES):
            query = f"?limit={_PAGE_ENTRIES}" + (f"&continuationToken={quote(token, safe='')}" if token else "")
            path = f"task/{task_id}/runs/{run_id}/artifacts{query}"
            page = self._read(path)
            with _expected(path):
                yield from [ListedArtifact(entry["name"], entry["storageType"]) for entry in page["artifacts"]]
            token = page.get("continuationToken", "")
            if not token:
                return
        raise TryLaterError("queue-answer", f"the queue lists artifacts of {task_id}/{run_id} without end")

    def artifact_request(self, task_id: str, run_id: int, name: str) -> tuple[str, dict[str, str]]:
        """URL and headers to get an artifact's content; the answer may be a redirect."""
        url = self._queue_url(f"task/{task_id}/runs/{run_id}/artifacts/{quote(name, safe='')}")
        return url, self._authorization("GET", url)

    def _read(self, path: str) -> dict[str, Any]:
        url = self._queue_url(path)
        status, answer = self._ask("GET", url, None, self._authorization("GET", url))
        if status == 404:
            raise ForbiddenError("run-unknown", f"the queue does not know {path}")
        if status != 200:
            raise TryLaterError("queue-refuses", f"the queue answered {status} to {path}")
        return answer

    def _queue_url(self, path: str) -> str:
        return f"{self._root_url}/api/queue/v1/{path}"

    def _authorization(self, method: str, url: str) -> dict[str, str]:
        if self._credentials is None:
            return {}
        client_id, access_token = self._credentials
        key = {"id": client_id, "key": access_token, "algorithm": "sha256"}
        sender = _HAWK_SENDER(key, url, method, always_hash_content=False)
        return {"Authorization": sender.request_header}

    def _ask(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._pause(_FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1))  # noqa: S311 - only a pause
            try:
                status, text = self._exchange(method, url, body, headers)
            except urllib3.exceptions.HTTPError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if status < _TROUBLE and status != _TOO_MANY:
                return status, _object(text, url)
            problem = f"answered {status}"
        raise TryLaterError("taskcluster-unavailable", f"{url}: {problem}"[:500])

    def _exchange(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", **headers}
        response = self._pool.request(method, url, body=body, headers=headers, redirect=False, preload_content=False)
        text = response.read(_MAX_ANSWER_BYTES + 1)
        if len(text) > _MAX_ANSWER_BYTES:
            response.close()
            raise TryLaterError("queue-answer", f"{url} answered more than {_MAX_ANSWER_BYTES} bytes")
        response.release_conn()
        return response.status, text


@contextlib.contextmanager
def _expected(where: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise TryLaterError("queue-answer", f"{where} answered in an unknown form: {error!r}") from error


def _object(text: bytes, url: str) -> dict[str, Any]:
    try:
        answer = jsontext.parse(text)
    except jsontext.BadJsonError as error:
        raise TryLaterError("queue-answer", f"{url}: {error}"[:500]) from error
    if not isinstance(answer, dict):
        raise TryLaterError("queue-answer", f"{url} did not answer with an object")
    return answer
