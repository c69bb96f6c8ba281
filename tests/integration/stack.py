"""A whole worker for tests: a development Taskcluster and every process under supervisord, as a user starts them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import slugid
import taskcluster
from redis import Redis

from simulators.devcluster import DevCluster
from simulators.patience import until
from taskward.cli.status import collect
from taskward.core.connection import connect
from taskward.core.ids import RunId
from taskward.core.record import Record, Records
from taskward.core.settings import Settings

TASKWARD = Path(sys.prefix) / "bin/taskward"
QUEUE = "proj-test/linux"


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stack:
    """Started by `start`, ended by `stop`; the queue lives on when the worker is stopped or killed."""

    def __init__(self, cluster_options: Mapping[str, Any] | None = None, **sections: Mapping[str, Any]) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tws"))
        self.directory.chmod(0o755)
        self.state_dir = self.directory / "w"
        self.cluster = DevCluster.start(self.directory / "dc", **(cluster_options or {}))
        self.config = self.directory / "taskward.toml"
        token = self.directory / "token"
        token.write_text(self.cluster.access_token)
        token.chmod(0o600)
        self._write(token, sections)

    def _write(self, token: Path, sections: Mapping[str, Mapping[str, Any]]) -> None:
        known: dict[str, dict[str, Any]] = {
            "taskcluster": {
                "root_url": self.cluster.root_url,
                "client_id": self.cluster.client_id,
                "access_token_file": str(token),
            },
            "worker": {
                "task_queue_id": QUEUE,
                "worker_group": "group",
                "worker_id": "worker",
                "state_dir": str(self.state_dir),
                "grace_s": 20,
            },
            "claimer": {"status_poll_s": 1},
            "gateway": {"port": free_port()},
            "proxy": {"port": free_port()},
        }
        for name, values in sections.items():
            known.setdefault(name, {}).update(values)
        lines = [
            line
            for name, values in known.items()
            for line in [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        ]
        self.config.write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.show_logs()
        self.close()

    def command(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """The `taskward` command with this worker's configuration."""
        argv = [str(TASKWARD), *words, "--config", str(self.config)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=180, check=False, **options)

    def start(self) -> None:
        """``taskward up --detach``."""
        done = self.command("up", "--detach")
        if done.returncode:
            self.show_logs()
            raise AssertionError(f"taskward up: {done.returncode}: {done.stdout}{done.stderr}")

    def stop(self) -> None:
        """``taskward down``."""
        done = self.command("down")
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        """Ends everything and removes what it kept."""
        self.command("down")
        self.cluster.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def show_logs(self) -> None:
        """What the processes said last, for a failed test."""
        for path in sorted((self.state_dir / "var/log").glob("*.log")):
            print(f"=== {path.name}\n{path.read_text(errors='replace')[-3000:]}")

    @property
    def settings(self) -> Settings:
        return Settings.load(self.config)

    def redis(self, role: str = "admin") -> Redis:
        return connect(self.settings.redis(role))

    def status(self) -> dict[str, Any]:
        """What ``taskward status --json`` prints."""
        return collect(self.settings)

    def pids(self, role: str) -> list[int]:
        """The processes of a role that run now."""
        return [row["pid"] for row in self.status()["roles"] if row["name"].split("-")[0] == role and row["pid"]]

    def supervisor_pid(self) -> int:
        return int((self.state_dir / "run/supervisor/supervisord.pid").read_text())

    def client(self, service: Any = taskcluster.Queue) -> Any:
        return self.cluster.client(service)

    def create(self, command: list[Any], **more: Any) -> RunId:
        """Creates a task whose payload is `command` and `more`; task properties are in `task`, its id in `task_id`."""
        task, task_id = more.pop("task", {}), str(more.pop("task_id", None) or slugid.nice())
        now = datetime.now(UTC)
        definition = {
            "taskQueueId": QUEUE,
            "created": now.isoformat(),
            "deadline": (now + timedelta(hours=1)).isoformat(),
            "expires": (now + timedelta(hours=5)).isoformat(),
            "metadata": {"name": "n", "description": "d", "owner": "o@example.com", "source": "https://example.com"},
            "payload": {"command": command, "maxRunTime": 120, **more},
            **task,
        }
        self.client().createTask(task_id, definition)
        return RunId(task_id, 0)

    def runs(self, run: RunId) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client().status(run.task_id)["status"]["runs"]
        return found

    def resolution(self, run: RunId, limit_s: float = 60.0) -> tuple[str, str]:
        """State and reason of this run once the queue has them."""

        def resolved() -> tuple[str, str] | None:
            found = self.runs(run)
            ours = found[run.run_id] if run.run_id < len(found) else {"state": "none"}
            return None if ours["state"] in ("none", "pending", "running") else (ours["state"], ours["reasonResolved"])

        result: tuple[str, str] = until(resolved, f"{run} is resolved", limit_s, 0.02)
        return result

    def run(self, command: list[Any], **more: Any) -> tuple[RunId, tuple[str, str]]:
        """Creates a task and waits for its first run's resolution."""
        run = self.create(command, **more)
        return run, self.resolution(run)

    def artifacts(self, run: RunId) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        page: dict[str, str] = {}
        while True:
            answer = self.client().listArtifacts(run.task_id, run.run_id, query=page)
            found.update({artifact["name"]: artifact for artifact in answer["artifacts"]})
            if "continuationToken" not in answer:
                return found
            page = {"continuationToken": answer["continuationToken"]}

    def get(self, run: RunId, name: str) -> bytes:
        """An artifact's content, decoded."""
        url = self.client().buildSignedUrl("getArtifact", run.task_id, run.run_id, name)
        answer = requests.get(url, timeout=60)
        answer.raise_for_status()
        return answer.content

    def log(self, run: RunId) -> str:
        return self.get(run, "public/logs/live_backing.log").decode(errors="replace")

    def download(self, run: RunId, directory: Path) -> None:
        """All artifacts with content, under their names."""
        for name, artifact in self.artifacts(run).items():
            if artifact["storageType"] in ("s3", "object"):
                path = directory / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.get(run, name))

    def record(self, run: RunId) -> Record | None:
        return Records(self.redis()).read(run)

    def phase(self, run: RunId, *phases: str) -> None:
        """Waits until the run is in one of the phases."""
        records = Records(self.redis())

        def there() -> bool:
            record = records.read(run)
            return record is not None and record.phase in phases

        until(there, f"{run} is {' or '.join(phases)}", 30, 0.001)


def send(pids: list[int], sig: signal.Signals) -> None:
    """A signal to each process that is still there."""
    for pid in pids:
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            continue
