"""Payloads of containers, and workers that are asked for them."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from taskward.core.settings import DockerSettings, Settings
from taskward.executor.docker.payload import parse
from taskward.executor.payload import Payload

MINIMAL: Final[dict[str, Any]] = {"image": "ubuntu:24.04", "maxRunTime": 60}
TASK_ID: Final = "AAAAAAAAQAaAAAAAAAAAAA"
EXPIRES: Final = "2026-02-01T00:00:00.000Z"
SETTINGS: Final = Settings.parse(
    {
        "taskcluster": {"root_url": "https://tc.example.com", "client_id": "w", "access_token_file": "/token"},
        "worker": {"task_queue_id": "p/q", "worker_group": "g", "worker_id": "w", "state_dir": "/state"},
    },
    "test",
)
TOLERANT: Final = replace(SETTINGS, docker=DockerSettings(strict_payload=False))


def ask(settings: Settings = SETTINGS, **more: Any) -> Payload:
    """The payload with these keys more than it must have."""
    return parse(TASK_ID, {"expires": EXPIRES, "payload": {**MINIMAL, **more}}, settings)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text)
