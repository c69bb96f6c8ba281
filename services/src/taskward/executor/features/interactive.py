"""A shell in the running task for whoever may read its page, a private artifact; see `executor.shell`."""

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final
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
    artifacts: ClassVar[tuple[str, ...]] = (ARTIFACT,)
    _server: ShellServer | None = None
    _secret = ""

    def reserved(self) -> Sequence[str]:
        """The names of all pages."""
        return self.artifacts

    def start(self) -> None:
        """A process that starts shells, a secret for the gateway, references for the claimer."""
        task = self.task
        self._server = ShellServer.start(task.layout.shell_socket(task.run), self.starter(), self.attend())
        self._secret = secrets.token_urlsafe(_SECRET_BYTES)
        seconds = task.payload.max_run_time_s + _SLACK_S
        entry = {"taskId": task.run.task_id, "runId": task.run.run_id}
        task.redis.set(keys.shell(self._secret), json.dumps(entry), ex=seconds)
        expires = min(task.clock() + timedelta(seconds=seconds), task.expires)
        for name, url in self.pages().items():
            kind = "application/json" if name.endswith(".json") else "text/html; charset=utf-8"
            task.records.announce(task.run, Reference(name, url, format_time(expires), kind))

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

    def pages(self) -> Mapping[str, str]:
        """Artifact → address; some of `artifacts`."""
        return {self.artifacts[0]: self.page("shell_url", "2", "", "/")}

    def page(self, elsewhere: str, version: str, socket: str, own: str, **more: str) -> str:
        """The address of a page: the gateway's `own`, or that of another user interface, in the form that those know.

        Args:
            elsewhere: the setting of ``[gateway]`` that names another user interface.
            version: of what is spoken by the web socket.
            socket: the web socket below the task's own address.
            own: the gateway's page there.
            more: parameters for the other user interface → places below the task's own address.
        """
        run = self.task.run
        of_run = {"taskId": run.task_id, "runId": str(run.run_id)}
        if other := self._gateway.get(elsewhere):
            socket_url = self._base.replace("http", "ws", 1) + socket
            places = {name: self._base + place for name, place in more.items()}
            return f"{other}?{urlencode({'v': version, 'socketUrl': socket_url, **places, **of_run})}"
        return f"{self._base}{own}?{urlencode({'v': version, **of_run})}"

    @property
    def _gateway(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.task.settings.others.get("gateway", {})
        return found

    @property
    def _base(self) -> str:
        return f"{public_url(self._gateway)}/shell/{self._secret}"
