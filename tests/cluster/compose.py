"""The cluster of docker-compose.yml under a name of its own, for tests; made, asked and taken away as a user does."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import requests
import slugid
import taskcluster
from docker.api.client import APIClient

from simulators.docker import SOCKET
from taskward.cli import artifacts
from taskward.cli.devworker import TASK_QUEUE_ID, Access

ROOT: Final = Path(__file__).resolve().parents[2]
TASKWARD: Final = Path(sys.prefix) / "bin/taskward"
ROLES: Final = (
    "redis", "devcluster", "keyholder", "signer", "decrypter", "taskhost", "proxy", "gateway", "uploader", "claimer",
    "executor",
)  # fmt: skip
AT_ONCE: Final = 2
"""How many files an uploader sends at once."""
LINGER_S: Final = 1
"""How long a container stays for its shells."""

_TIMEOUT_S: Final = 240


def until(condition: Callable[[], Any], what: str, limit_s: float = 60.0, pause_s: float = 0.1) -> Any:
    """Waits until `condition` is true and returns its value; fails with `what` after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {limit_s} s still not: {what}"
        time.sleep(pause_s)
    return value


class Cluster:
    """One project of Compose with its own directory, ports and networks."""

    def __init__(self, docker: APIClient, tag: str) -> None:
        self.docker = docker
        self.directory = Path(
            tempfile.mkdtemp(prefix="twc", dir="/var/tmp")
        )  # not /tmp, which is new in each container
        self.directory.chmod(0o755)
        self.project = self.directory.name.lower().replace("_", "-")
        self.state_dir = self.directory / "w"
        self.network = self.directory / "network"
        self.network.mkdir(mode=0o755)
        self.port, self.gateway_port = _free_ports(2)
        self.environment = {
            **os.environ,
            "TASKWARD_DIR": str(self.state_dir),
            "TASKWARD_PORT": str(self.port),
            "TASKWARD_GATEWAY_PORT": str(self.gateway_port),
            "TASKWARD_TAG": tag,
            "TASKWARD_DOCKER_SOCKET": SOCKET.removeprefix("unix://"),
            "TASKWARD_TEST_NETWORK": str(self.network),
        }

    def __enter__(self) -> Self:
        try:
            self.compose("run", "--rm", "setup", *self._setup())
            self._edit_configuration()
            self.compose("up", "--detach", "--no-build")
            until(lambda: (self.state_dir / "devcluster/devcluster.json").exists(), "the devcluster answers")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.compose("logs", "--no-color", "--tail", "30"))
        self.close()

    def close(self) -> None:
        """Takes everything away."""
        self.compose("down", "--volumes", "--timeout", "3")
        shutil.rmtree(self.directory, ignore_errors=True)

    def compose(self, *words: str) -> str:
        """Either Compose, with the project's files; what it printed."""
        argv = [*_program(), "--project-name", self.project, "-f", "docker-compose.yml", "-f", "tests/cluster/slow.yml"]
        done = subprocess.run(
            [*argv, *words], cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=_TIMEOUT_S,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def taskward(self, *words: str, returns: int = 0) -> str:
        """The command line on the host, against the published port."""
        names = ("TASKCLUSTER_ROOT_URL", "TASKCLUSTER_CLIENT_ID", "TASKCLUSTER_ACCESS_TOKEN")
        access = dict(zip(names, (self.root_url, self.access.client_id, self.access.access_token), strict=True))
        done = subprocess.run(
            [TASKWARD, *words], env=os.environ | access, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == returns, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def containers(self, role: str) -> list[dict[str, Any]]:
        """What `docker inspect` says of the role's containers, running or not."""
        labels = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={role}"]
        found = self.docker.containers(all=True, filters={"label": labels})
        return [self.docker.inspect_container(each["Id"]) for each in found]

    def container(self, role: str) -> dict[str, Any]:
        """The role's only container."""
        (found,) = self.containers(role)
        return found

    def inside(self, role: str, *argv: str, user: str = "") -> tuple[int, str]:
        """Exit code and output of a program in the role's container."""
        made = self.docker.exec_create(self.container(role)["Id"], list(argv), user=user)
        output = self.docker.exec_start(made["Id"]).decode(errors="replace")
        return int(self.docker.exec_inspect(made["Id"])["ExitCode"]), output

    def crash(self, container: dict[str, Any]) -> None:
        """Kills all of a container at once, as the kernel would; Docker starts it again."""
        pid = int(container["State"]["Pid"])
        assert pid > 1, f"{container['Name']} does not run"  # 0 would be this process's own group
        os.kill(pid, signal.SIGKILL)

    def slow_down(self, round_trip_s: float) -> None:
        """From now on the way to Taskcluster takes so long, there and back."""
        (self.network / "round_trip_s").write_text(str(round_trip_s))

    @property
    def root_url(self) -> str:
        """As the host reaches it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def access(self) -> Access:
        return Access.read(self.state_dir)

    @property
    def queue(self) -> Any:
        return taskcluster.Queue({**self.access.options, "rootUrl": self.root_url})

    def create(self, payload: dict[str, Any], **more: Any) -> str:
        """Creates a task; returns its id."""
        task_id, now = str(slugid.nice()), datetime.now(UTC)
        definition = {
            "taskQueueId": TASK_QUEUE_ID,
            "created": now.isoformat(),
            "deadline": (now + timedelta(hours=1)).isoformat(),
            "expires": (now + timedelta(hours=5)).isoformat(),
            "metadata": {"name": "n", "description": "d", "owner": "o@example.com", "source": "https://example.com"},
            "payload": {"maxRunTime": 120, **payload},
            **more,
        }
        self.queue.createTask(task_id, definition)
        return task_id

    def runs(self, task_id: str) -> list[dict[str, Any]]:
        """What the queue knows of its runs; nothing while it does not answer."""
        try:
            found: list[dict[str, Any]] = self.queue.status(task_id)["status"]["runs"]
        except taskcluster.exceptions.TaskclusterConnectionError:
            return []
        return found

    def resolution(self, task_id: str, run_id: int = 0, limit_s: float = 60.0) -> str:
        """``state/reason`` of a run, once it has them."""

        def resolved() -> str:
            runs = self.runs(task_id)
            run = runs[run_id] if run_id < len(runs) else {"state": "none"}
            return "" if run["state"] in ("none", "pending", "running") else f"{run['state']}/{run['reasonResolved']}"

        return str(until(resolved, f"{task_id}/{run_id} is resolved", limit_s, 0.05))

    def names(self, task_id: str, run_id: int = 0) -> list[str]:
        """The artifacts of a run."""
        return [each.name for each in artifacts.listed(self.queue, task_id, run_id)]

    def download(self, task_id: str, target: Path) -> None:
        """All artifacts of the first run that have content."""
        for each in artifacts.listed(self.queue, task_id, 0):
            if each.storage_type in artifacts.DOWNLOADED:
                artifacts.fetch(self.queue, task_id, 0, each.name, target)

    def get(self, task_id: str, name: str, run_id: int = 0) -> str:
        """One artifact as text."""
        answer = requests.get(self.queue.buildSignedUrl("getArtifact", task_id, run_id, name), timeout=30)
        answer.raise_for_status()
        return answer.text

    def _setup(self) -> list[str]:
        return ["--state-dir", str(self.state_dir), "--gateway-url", f"http://127.0.0.1:{self.gateway_port}"]

    def _edit_configuration(self) -> None:
        """What a user would write into the file: another root URL, few files at once, Docker in tasks, no lingering."""
        config = self.state_dir / "dev.toml"
        text = config.read_text().replace("http://devcluster:60022", "http://slow:60022")
        text = text.replace("[uploader]\n", f"[uploader]\nconcurrency = {AT_ONCE}\n")
        shells = f"interactive_min_s = {LINGER_S}\ninteractive_linger_s = {LINGER_S}\n"
        config.write_text(f"{text}\n[docker]\nenable_dind = true\n{shells}")


def _program() -> list[str]:
    """``docker compose`` where it is, else ``docker-compose``."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=30, check=False)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
