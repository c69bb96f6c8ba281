"""Which Taskcluster the command line talks to."""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from taskward.cli import places
from taskward.cli.devworker import TASK_QUEUE_ID, Access
from taskward.cli.errors import BadInput, CommandError, Forbidden, NotConfigured, Unavailable, WrongUsage

_REFUSALS: Final[Mapping[int, type[CommandError]]] = {
    400: BadInput,
    401: Forbidden,
    403: Forbidden,
    409: WrongUsage,
    413: BadInput,
}
"""What an answer of the services means for whoever asked; the others mean that it is no Taskcluster, or a sick one."""
_DETAILS: Final = "\n---\n"
_ROOT_URL: Final = re.compile(r"https?://[^/\s]+")


def options() -> dict[str, Any]:
    """For the classes of the `taskcluster` package: ``TASKCLUSTER_*``, else the running development Taskcluster.

    Raises:
        Unavailable: neither is there.
        NotConfigured: the variables cannot be.
    """
    if not os.environ.get("TASKCLUSTER_ROOT_URL"):
        return Access.read(places.dev_state_dir()).options
    name = "TASKCLUSTER_PROXY_URL" if os.environ.get("TASKCLUSTER_PROXY_URL") else "TASKCLUSTER_ROOT_URL"
    found: dict[str, Any] = {"rootUrl": os.environ[name].rstrip("/"), "maxRetries": 3}
    if not _ROOT_URL.fullmatch(found["rootUrl"]):
        raise NotConfigured(f"{name}: must be http(s)://host[:port], not {os.environ[name]!r}")
    names = {"clientId": "CLIENT_ID", "accessToken": "ACCESS_TOKEN", "certificate": "CERTIFICATE"}
    credentials = {
        key: os.environ[f"TASKCLUSTER_{name}"] for key, name in names.items() if os.environ.get(f"TASKCLUSTER_{name}")
    }
    _check_certificate(credentials.get("certificate"))
    return {**found, "credentials": credentials} if credentials else found


def queue() -> Any:
    """A client of the queue; use it within `explained`."""
    import taskcluster

    return taskcluster.Queue(options())


def new_task_id() -> str:
    """As everybody makes them."""
    import slugid

    return str(slugid.nice())


def _check_certificate(text: str | None) -> None:
    try:
        json.loads(text or "{}")
    except ValueError as error:
        raise NotConfigured(f"TASKCLUSTER_CERTIFICATE: must be the JSON that came with the token: {error}") from error


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Errors of the `taskcluster` package in a block as errors of a command: see `_REFUSALS`."""
    from taskcluster.exceptions import TaskclusterAuthFailure, TaskclusterConnectionError, TaskclusterRestFailure

    try:
        yield
    except TaskclusterConnectionError as error:
        raise Unavailable(f"Taskcluster does not answer: {error.superExc or error}") from error
    except (TaskclusterAuthFailure, TaskclusterRestFailure) as error:
        text = f"Taskcluster refused: {str(error).partition(_DETAILS)[0].strip()}"
        kind = _REFUSALS.get(error.status_code, Unavailable)
        if isinstance(error, TaskclusterAuthFailure) or kind is Forbidden:
            raise Forbidden(f"{text}; check TASKCLUSTER_CLIENT_ID, TASKCLUSTER_ACCESS_TOKEN, the scopes") from error
        raise kind(f"{text} ({error.status_code})") from error


def default_queue() -> str:
    """The task queue for tasks that do not name one: this machine's worker's."""
    config = places.dev_state_dir() / places.DEV_CONFIG
    for place in (places.SYSTEM_CONFIG, config):
        if place.exists() and os.access(place, os.R_OK):
            return places.load(Path(place)).worker.task_queue_id
    return TASK_QUEUE_ID
