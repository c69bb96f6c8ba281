"""A development Taskcluster and a worker for it, in one state directory."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from taskward.cli import redisview, supervision
from taskward.cli.accounts import ensure_accounts, user_of
from taskward.cli.configuration import Configuration
from taskward.cli.directories import ensure_directories, explained
from taskward.cli.errors import CommandError, Forbidden, Unavailable
from taskward.cli.lifeline import SUPERVISOR
from taskward.cli.places import DEV_CONFIG, dev_command
from taskward.cli.programs import (
    Devcluster,
    base_environment,
    command,
    devcluster_program,
    environment,
)
from taskward.cli.provision import replace
from taskward.cli.supervisor import Process
from taskward.cli.supervisord import alive_lock
from taskward.cli.toml import document
from taskward.cli.worker import Worker
from taskward.core.errors import ConfigurationError
from taskward.core.poll import until
from taskward.core.settings import Settings

TASK_QUEUE_ID: Final = "taskward/dev"
WORKER_GROUP: Final = "local"
WORKER_ID: Final = "dev"
CLIENT_ID: Final = "project/taskward/dev-worker"
PORTS: Final = {"devcluster": 60022, "gateway": 60023, "proxy": 60024}
_READY_WITHIN_S: Final = 30.0
_GRACE_S: Final = 20
_STATUS_POLL_S: Final = 2.0


@dataclass(frozen=True)
class Access:
    """How to reach a running development Taskcluster as its root."""

    root_url: str
    client_id: str
    access_token: str

    @classmethod
    def read(cls, state_dir: Path) -> Self:
        """What the devcluster of `state_dir` says.

        Raises:
            CommandError: it does not run, or belongs to another user.
        """
        file = _access_file(state_dir)
        try:
            data = json.loads(file.read_text())
        except PermissionError as error:
            raise Forbidden(f"{file}: {error.strerror}; ask as the user who started it") from error
        except (OSError, ValueError) as error:
            start = dev_command(state_dir)
            raise Unavailable(f"no development cluster runs in {state_dir}; start it: {start}") from error
        return cls(data["rootUrl"], data["clientId"], data["accessToken"])

    @property
    def options(self) -> dict[str, Any]:
        """For the classes of the `taskcluster` package."""
        credentials = {"clientId": self.client_id, "accessToken": self.access_token}
        return {"rootUrl": self.root_url, "credentials": credentials, "maxRetries": 3}


class DevWorker:
    """Made once per state directory; its configuration may be edited afterwards and is kept."""

    def __init__(self, state_dir: Path, capacity: int = 2) -> None:
        self.state_dir = state_dir
        self.config = state_dir / DEV_CONFIG
        self._capacity = capacity

    def start(self) -> tuple[Process, ...]:
        """Starts everything in the background; returns when the worker asks for tasks, unless it is drained.

        Raises:
            ConfigurationError, CommandError: see `Worker.start`.
        """
        began = datetime.now(UTC)
        worker = Worker(self.prepare(), self._devcluster())
        self._forget_access()
        started = worker.start()
        access = self._await_cluster()
        if not redisview.is_draining(worker.settings.redis("monitor")):
            self._await_claiming(access, worker.settings, began)
        return started

    def runs(self) -> bool:
        """Whether it was started and not stopped.

        Raises:
            ConfigurationError: its directory cannot be looked into.
            CommandError: it is another user's.
        """
        return self._is_made() and supervision.supervisor(self.state_dir).answers()

    def _is_made(self) -> bool:
        with explained(self.state_dir):
            return self.config.exists()

    def stop(self) -> bool:
        """Stops everything; False when nothing ran."""
        stopped = self.config.exists() and Worker(Settings.load(self.config)).stop()
        self._forget_access()
        return stopped

    def _forget_access(self) -> None:
        """What a devcluster that is gone has left must not be taken for the new one's."""
        if not self.runs():
            _access_file(self.state_dir).unlink(missing_ok=True)

    def prepare(self) -> Settings:
        """The settings, of the file and of the environment.

        At the first time makes the cluster's state, a client for the worker, and the file.

        Raises:
            ConfigurationError: they cannot be used; or a variable would make it another cluster's worker.
        """
        if not self._is_made():
            if user_of("executor") == "root":
                ensure_accounts()
            ensure_directories(self.state_dir)
            ports = _free_ports()
            token = register(self.state_dir, ports["devcluster"])
            replace(self.state_dir / "dev-access-token", token, user_of("supervisor"), 0o400)
            gateway, proxy = {"port": ports["gateway"]}, {"port": ports["proxy"]}
            root_url = f"http://127.0.0.1:{ports['devcluster']}"
            file = sections(self.state_dir, root_url, self._capacity, gateway=gateway, proxy=proxy)
            replace(self.config, document(file), user_of("supervisor"), 0o644)
        own, settings = Settings.load(self.config), Configuration.read(self.config, os.environ).settings
        if (settings.layout.state_dir, settings.taskcluster) != (own.layout.state_dir, own.taskcluster):
            variables = "TASKWARD_WORKER__STATE_DIR and TASKWARD_TASKCLUSTER__…"
            raise ConfigurationError(f"a development worker has its own directory and Taskcluster: unset {variables}")
        return settings

    def _devcluster(self) -> Devcluster:
        port = int(Settings.load(self.config).taskcluster.root_url.rpartition(":")[2])
        return Devcluster(self.state_dir / "devcluster", port)

    def _await_cluster(self) -> Access:
        try:
            return _await_access(self.state_dir)
        except Unavailable as error:
            text = f"the development Taskcluster does not start; see {self.state_dir}/var/log/devcluster.log"
            raise Unavailable(f"{text} (its ports are in {self.config})") from error

    def _await_claiming(self, access: Access, settings: Settings, since: datetime) -> None:
        import taskcluster

        queue = taskcluster.Queue(access.options)
        provisioner, _, worker_type = settings.worker.task_queue_id.partition("/")
        worker = (provisioner, worker_type, settings.worker.worker_group, settings.worker.worker_id)
        if not until(lambda: _asked_since(queue, worker, since), _READY_WITHIN_S, pause_s=0.05):
            raise Unavailable(f"the worker does not claim; see {self.state_dir}/var/log/claimer.log")


def sections(state_dir: Path, root_url: str, capacity: int, **others: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The configuration of a development worker; `others` are sections beside the usual ones."""
    return {
        "taskcluster": {
            "root_url": root_url,
            "client_id": CLIENT_ID,
            "access_token_file": state_dir / "dev-access-token",
        },
        "worker": {
            "task_queue_id": TASK_QUEUE_ID, "worker_group": WORKER_GROUP, "worker_id": WORKER_ID,
            "capacity": capacity, "grace_s": _GRACE_S, "state_dir": state_dir,
        },
        "claimer": {"status_poll_s": _STATUS_POLL_S},
        "executor": {"enable_encrypted_env": True},
        **others,
    }  # fmt: skip


def register(state_dir: Path, port: int) -> str:
    """Runs the cluster alone for a moment, to give the worker a client with no more scopes than it needs; its token."""
    import taskcluster

    program = devcluster_program(Devcluster(state_dir / "devcluster", port))
    with _running(command(program, alive_lock(state_dir)), environment(program, state_dir)):
        auth: Any = taskcluster.Auth(_await_access(state_dir).options)
        expires = datetime.now(UTC) + timedelta(days=3650)
        scopes = [
            f"queue:claim-work:{TASK_QUEUE_ID}",
            f"queue:worker-id:{WORKER_GROUP}/{WORKER_ID}",
            "auth:expand-scopes",
        ]
        auth.createClient(CLIENT_ID, {"description": "the worker", "expires": expires, "scopes": scopes})
        return str(auth.resetAccessToken(CLIENT_ID)["accessToken"])


@contextmanager
def _running(argv: Sequence[str], more: dict[str, str]) -> Iterator[None]:
    """A process for the length of a block."""
    own = {SUPERVISOR: str(os.getpid())}
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=base_environment() | own | more, cwd="/")
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _access_file(state_dir: Path) -> Path:
    """Appears when the devcluster answers."""
    return state_dir / "devcluster/devcluster.json"


def _await_access(state_dir: Path) -> Access:
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            return Access.read(state_dir)
        except CommandError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _asked_since(queue: Any, worker: tuple[str, str, str, str], since: datetime) -> bool:
    import taskcluster

    try:
        seen = queue.getWorker(*worker)["lastDateActive"]
    except taskcluster.exceptions.TaskclusterConnectionError:
        return False
    except taskcluster.exceptions.TaskclusterRestFailure as error:
        if error.status_code == 404:
            return False
        raise
    return datetime.fromisoformat(seen) >= since


def _free_ports() -> dict[str, int]:
    """The usual ports where they are free, others else."""
    ports: dict[str, int] = {}
    probes = []
    for name, port in PORTS.items():
        probe = socket.socket()
        probes.append(probe)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        ports[name] = probe.getsockname()[1]
    for probe in probes:
        probe.close()
    return ports
