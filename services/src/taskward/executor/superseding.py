"""Asks a superseder: a service that knows which tasks make others superfluous. Runs with the rights of the task's user.

The answer to ``GET <supersederUrl>?taskId=<taskId>`` is ``{"supersedes": [taskId, …]}``, newest first, with the task
that asks among them. Whatever else comes is no answer: nothing is followed, nothing is believed.
"""

import http.client
import json
import random
import re
import signal
import time
from collections.abc import Callable
from socket import socket
from typing import Any, Final
from urllib.parse import quote, urlsplit

LARGEST_ANSWER_BYTES: Final = 1 << 20
_TASK_ID: Final = re.compile(r"[A-Za-z0-9_-]{8}[Q-T][A-Za-z0-9_-][CGKOSWaeimquy26-][A-Za-z0-9_-]{10}[AQgw]")
_ATTEMPTS: Final = 3
_PAUSE_S: Final = 0.5
_LONGEST_MESSAGE: Final = 300


class NoAnswer(Exception):
    """The service gave none that can be used; the text says why."""


class _Transient(NoAnswer):
    """Another attempt may succeed."""


def is_askable(url: str) -> bool:
    """Whether `url` is one of HTTP or HTTPS, with a host and no control characters."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        return False


def newest(answer: Any, task_id: str) -> str:
    """The task that supersedes all others of `answer`; `task_id` itself when nothing does.

    Raises:
        NoAnswer: it is not of the agreed form, or is about other tasks.
    """
    found = answer.get("supersedes") if isinstance(answer, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, str) and _TASK_ID.fullmatch(each) for each in found):
        raise NoAnswer('it is not of the form {"supersedes": [taskId, …]}')
    if not found:
        raise NoAnswer("the list is empty")
    if task_id not in found:
        raise NoAnswer(f"the list does not contain {task_id}")
    return str(found[0])


def asker(url: str, task_id: str, timeout_s: float) -> Callable[[socket], None]:
    """For `Engine.as_task`: sends one JSON message, ``{"newest": …}`` or ``{"problem": …}``, or dies in time."""

    def ask(connection: socket) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        message: dict[str, str]
        try:
            message = {"newest": newest(_fetch(_with_task(url, task_id), timeout_s), task_id)}
        except (NoAnswer, OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            message = {"problem": (str(error) or type(error).__name__)[:_LONGEST_MESSAGE]}
        connection.send(json.dumps(message).encode())

    return ask


def _with_task(url: str, task_id: str) -> str:
    """`url` with the query that names the task; a fragment is not for servers."""
    url = url.partition("#")[0]
    return f"{url}{'&' if '?' in url else '?'}taskId={task_id}"


def _fetch(url: str, timeout_s: float) -> Any:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _get(url, timeout_s)
        except (_Transient, OSError):
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_S * attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
    raise AssertionError("unreachable")


def _get(url: str, timeout_s: float) -> Any:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=timeout_s)
    try:
        path = quote(f"{parts.path or '/'}?{parts.query}", safe="%/:=&?~+!$,;'@()*[]")
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise (_Transient if answer.status >= 500 else NoAnswer)(f"status {answer.status} {answer.reason}")
        content = answer.read(LARGEST_ANSWER_BYTES + 1)
    finally:
        connection.close()
    if len(content) > LARGEST_ANSWER_BYTES:
        raise NoAnswer(f"more than {LARGEST_ANSWER_BYTES} bytes")
    return json.loads(content)
