"""Which Taskcluster the command line talks to."""

import os
from pathlib import Path
from typing import Any

from taskward.cli import places
from taskward.cli.devworker import TASK_QUEUE_ID, Access


def options() -> dict[str, Any]:
    """For the classes of the `taskcluster` package: ``TASKCLUSTER_*``, else the running development Taskcluster.

    Raises:
        Unavailable: neither is there.
    """
    if not os.environ.get("TASKCLUSTER_ROOT_URL"):
        return Access.read(places.dev_state_dir()).options
    found: dict[str, Any] = {"rootUrl": os.environ["TASKCLUSTER_ROOT_URL"].rstrip("/"), "maxRetries": 3}
    if os.environ.get("TASKCLUSTER_PROXY_URL"):
        found["rootUrl"] = os.environ["TASKCLUSTER_PROXY_URL"].rstrip("/")
    names = {"clientId": "CLIENT_ID", "accessToken": "ACCESS_TOKEN", "certificate": "CERTIFICATE"}
    credentials = {
        key: os.environ[f"TASKCLUSTER_{name}"] for key, name in names.items() if os.environ.get(f"TASKCLUSTER_{name}")
    }
    return {**found, "credentials": credentials} if credentials else found


def default_queue() -> str:
    """The task queue for tasks that do not name one: this machine's worker's."""
    config = places.dev_state_dir() / places.DEV_CONFIG
    for place in (places.SYSTEM_CONFIG, config):
        if place.exists() and os.access(place, os.R_OK):
            return places.load(Path(place)).worker.task_queue_id
    return TASK_QUEUE_ID
