"""A shell in the running task for whoever may read its page, a private artifact; see `executor.shell`."""

import json
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar, Final
from urllib.parse import urlencode

from taskward.core import keys
from taskward.core.clock import format_time
from taskward.core.record import Reference
from taskward.executor.environment import environment_of
from taskward.executor.errors import EngineFailed
from taskward.executor.features.feature import Feature
from taskward.executor.features.live_log import public_url
from taskward.executor.native import NativeEngine
from taskward.executor.shell.host import Attend
from taskward.executor.shell.server import ShellServer
from taskward.executor.shell.session import Starter

ARTIFACT: Final = "private/generic-worker/shell.html"
_SLACK_S: Final = 900
_SECRET_BYTES: Final = 32


class Interactive(Feature):
    """``features.interactive``. Shells live no longer than the task's commands: a session does not keep a task."""

    name = "Interactive"
    key = "interactive"
    switch = "enable_interactive"
    artifact: ClassVar[str] = ARTIFACT
    _server: ShellServer | None = None
    _secret = ""

    def reserved(self) -> Sequence[str]:
        """The page's name."""
        return (self.artifact,)

    def start(self) -> None:
        """A process that starts shells, a secret for the gateway, a reference for the claimer."""
        task = self.task
        self._server = ShellServer.start(task.layout.shell_socket(task.run), self.starter(), self.attend())
        self._secret = secrets.token_urlsafe(_SECRET_BYTES)
        seconds = task.payload.max_run_time_s + _SLACK_S
        entry = {"taskId": task.run.task_id, "runId": task.run.run_id}
        task.redis.set(keys.shell(self._secret), json.dumps(entry), ex=seconds)
        expires = min(task.clock() + timedelta(seconds=seconds), task.expires)
        reference = Reference(self.artifact, self._url(), format_time(expires), "text/html; charset=utf-8")
        task.records.announce(task.run, reference)

    def starter(self) -> Starter:
        """Who starts shells.

        Raises:
            EngineFailed: nobody can.
        """
        task = self.task
        if not isinstance(task.engine, NativeEngine):
            raise EngineFailed(f"the engine {task.engine.name} has no interactive shells")
        return Starter(task.engine.start, task.engine.identity, environment_of(task))

    def attend(self) -> Attend:
        """Who wants to know how many shells there are: here nobody."""
        return lambda _shells: None

    def close(self) -> None:
        """Ends the shells, and the process that could start more."""
        if self._server is not None:
            self._server.stop()
            self._server = None
        self.task.layout.shell_socket(self.task.run).unlink(missing_ok=True)

    def stop(self) -> None:
        """The secret opens nothing any more; after a crash nobody here knows it, and it expires by itself."""
        if self._secret:
            self.task.redis.delete(keys.shell(self._secret))

    def _url(self) -> str:
        """The gateway's own page, or that of another user interface in generic-worker's form."""
        gateway, run = self.task.settings.others.get("gateway", {}), self.task.run
        of_run = {"taskId": run.task_id, "runId": str(run.run_id)}
        shell = f"{public_url(gateway)}/shell/{self._secret}"
        if elsewhere := gateway.get("shell_url"):
            socket_url = shell.replace("http", "ws", 1)
            return f"{elsewhere}?{urlencode({'v': '2', 'socketUrl': socket_url, **of_run})}"
        return f"{shell}/?{urlencode({'v': '2', **of_run})}"
