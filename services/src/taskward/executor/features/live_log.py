"""The log while it grows, at a URL that nobody can guess; the gateway serves it, the claimer publishes the URL."""

import json
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from taskward.core import keys
from taskward.core.clock import format_time
from taskward.core.record import Reference
from taskward.executor.features.feature import Feature

DEFAULT_GATEWAY: Final = {"host": "127.0.0.1", "port": 60023}
_REFERENCE_SLACK_S: Final = 900
_TOKEN_SLACK_S: Final = 3600
_TOKEN_BYTES: Final = 32


class LiveLog(Feature):
    """``features.liveLog``, on by default."""

    name = "Live Log"
    key = "liveLog"
    switch = "enable_live_log"

    def reserved(self) -> Sequence[str]:
        """``payload.logs.live``."""
        return (self.task.payload.live_log,)

    def start(self) -> None:
        """A token for the gateway, a reference for the claimer."""
        task, seconds = self.task, self.task.payload.max_run_time_s + _REFERENCE_SLACK_S
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        entry = {"taskId": task.run.task_id, "runId": task.run.run_id, "path": str(task.log.path)}
        task.redis.set(keys.log(token), json.dumps(entry), ex=seconds + _TOKEN_SLACK_S)
        expires = min(task.clock() + timedelta(seconds=seconds), task.expires)
        url = f"{public_url(task.settings.others.get('gateway', {}))}/log/{token}"
        reference = Reference(task.payload.live_log, url, format_time(expires), "text/plain; charset=utf-8")
        task.records.announce(task.run, reference)


def public_url(gateway: Any) -> str:
    """Where readers outside reach the gateway, from its section of the configuration."""
    told = {**DEFAULT_GATEWAY, **gateway}
    host = f"[{told['host']}]" if ":" in told["host"] else told["host"]
    return str(told.get("public_url") or f"http://{host}:{told['port']}").rstrip("/")
