"""A development Taskcluster in a process of its own, for tests of what talks to it.

Also task definitions to create on it, and a clock to move by hand for tests inside one process.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_START_S = 30.0

QUEUE_ID = "proj-test/ci"
WORKER = {"workerGroup": "group", "workerId": "worker"}


def task_definition(now: datetime | None = None, **changes: Any) -> dict[str, Any]:
    """Return a definition for ``createTask``, with these keys changed; its deadline is an hour away."""
    now = now or datetime.now(UTC)
    return {
        "taskQueueId": QUEUE_ID,
        "created": now.isoformat(),
        "deadline": (now + timedelta(hours=1)).isoformat(),
        "payload": {"command": [["true"]], "maxRunTime": 60},
        "metadata": {
            "name": "a task",
            "description": "made by a test",
            "owner": "nobody@example.com",
            "source": "https://example.com/",
        },
        **changes,
    }


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the time it was set to."""
        return self.time

    def move(self, **amount: float) -> None:
        """Go on by an amount, as for ``timedelta``."""
        self.time += timedelta(**amount)


class DevCluster:
    """A running devcluster; start it with ``DevCluster.start``, use it as a context manager or ``stop`` it.

    Options are those of the command line: ``claim_timeout_s=20`` means ``--claim-timeout-s 20``. A
    cluster started again on the same state folder keeps its port, its credentials and its tasks.
    """

    def __init__(self, process: subprocess.Popen[bytes], state_dir: Path) -> None:
        self._process = process
        self.state_dir = state_dir
        found = self._wait()
        self.root_url: str = found["rootUrl"]
        self.client_id: str = found["clientId"]
        self.access_token: str = found["accessToken"]

    @classmethod
    def start(cls, state_dir: Path, **options: Any) -> Self:
        """Start a cluster and return it when it answers; raises ``RuntimeError`` when it does not."""
        command = [sys.executable, "-m", "taskward.devcluster", "--state-dir", str(state_dir)]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        state_dir.mkdir(parents=True, exist_ok=True)
        before = state_dir / "devcluster.json"
        stamp = before.stat().st_mtime_ns if before.exists() else 0
        process = subprocess.Popen(command, start_new_session=True)
        while process.poll() is None and before.exists() and before.stat().st_mtime_ns == stamp:
            time.sleep(0.01)
        return cls(process, state_dir)

    @property
    def pid(self) -> int:
        """The process to send signals to."""
        return self._process.pid

    @property
    def credentials(self) -> dict[str, str]:
        """The root credentials, as the ``taskcluster`` package takes them (it changes the dictionary)."""
        return {"clientId": self.client_id, "accessToken": self.access_token}

    def client(self, service: Any, credentials: dict[str, Any] | None = None, **options: Any) -> Any:
        """Return a client such as ``taskcluster.Queue`` with these credentials, or the root's."""
        chosen = dict(self.credentials if credentials is None else credentials)
        return service({"rootUrl": self.root_url, "credentials": chosen, "maxRetries": 0, **options})

    def stop(self) -> None:
        """End the cluster in good order, without waiting for idle connections; may be called twice."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End the cluster as a crash would, children included."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait(self) -> dict[str, str]:
        deadline = time.monotonic() + _START_S
        path = self.state_dir / "devcluster.json"
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                found: dict[str, str] = json.loads(path.read_text())
                with urllib.request.urlopen(found["rootUrl"] + "/__heartbeat__", timeout=5):  # noqa: S310
                    return found
            except (FileNotFoundError, urllib.error.URLError):
                time.sleep(0.02)
        if self._process.poll() is None:
            self.kill()
        raise RuntimeError(f"devcluster did not start (exit code {self._process.returncode})")
