"""Runs tasks in containers of busybox, and shows what is left of them."""

import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from executor.bench import Bench, Result
from simulators import listener
from simulators.docker import SOCKET, connect
from simulators.redis import RedisServer
from taskward.core.ids import RunId
from taskward.executor.docker import labels
from taskward.executor.sweep import Sweep


class Asked(listener.Request):
    purges: "Purges"

    def do_GET(self) -> None:
        self.reply(json.dumps({"requests": self.purges.requests}).encode())


class Purges(listener.Listener):
    """The purge-cache service, which answers whoever asks: ``purges.requests`` is what it wants."""

    def __init__(self) -> None:
        self.requests: list[dict[str, str]] = []
        super().__init__(Asked, purges=self)
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()


class Yard:
    """One worker's; `bench` is its machine, `url` its Docker daemon."""

    def __init__(self, bench: Bench, image: str, url: str = SOCKET) -> None:
        self.bench, self.image, self._url = bench, image, url
        self.daemon, self.purges = connect(url), Purges()

    def close(self) -> None:
        self.purges.close()
        self.daemon.close()

    def use(self, docker: Mapping[str, Any] | None = None, **sections: Mapping[str, Any]) -> None:
        """Other settings than the usual ones."""
        root = {"root_url": self.purges.url}
        docker = {"enabled": True, "host": self._url, "networks_ready": 1, **(docker or {})}
        self.bench.use(docker=docker, **{"taskcluster": root, **sections})

    def payload(self, command: str | Sequence[str], **more: Any) -> dict[str, Any]:
        """A payload; text is a script for the shell."""
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        return {"image": self.image, "command": argv, "maxRunTime": 30, **more}

    def run(self, command: str | Sequence[str], scopes: Sequence[str] = (), **more: Any) -> Result:
        """A task, until it is handed over."""
        return self.bench.run_payload(self.payload(command, **more), scopes=list(scopes))

    def claim(self, command: str | Sequence[str], **more: Any) -> RunId:
        """A task that is claimed."""
        return self.bench.claim(self.payload(command, **more))

    def containers(self) -> list[dict[str, Any]]:
        """All containers of this worker, dead ones too."""
        label = f"{labels.WORKER}={labels.worker_id(self.bench.state_dir)}"
        found: list[dict[str, Any]] = self.daemon.containers(all=True, filters={"label": label})
        return found

    def networks(self) -> list[str]:
        """Names of this worker's networks."""
        label = f"{labels.WORKER}={labels.worker_id(self.bench.state_dir)}"
        return [each["Name"] for each in self.daemon.networks(filters={"label": label})]

    def left_over(self, run: RunId) -> list[str]:
        """What a run has left on this host: there should be nothing."""
        found = [f"container {each['Names']}" for each in self.containers() if each["Labels"][labels.RUN] == run.key]
        if self.bench.layout.task_directory(run).exists():
            found.append("task directory")
        listed = subprocess.run(
            ["find", "/sys/fs/cgroup", "-maxdepth", "3", "-type", "d", "-name", f"*{run.directory}*"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return [*found, *listed.stdout.split()]


@contextmanager
def opened(server: RedisServer, image: str, url: str = SOCKET) -> Iterator[Yard]:
    """A worker's machine with a Docker daemon that has `image`; nothing is left of it."""
    directory = Path(tempfile.mkdtemp(prefix=f"tw{secrets.token_hex(2)}"))
    directory.chmod(0o711)
    with Bench(server, directory) as bench:
        yard = Yard(bench, image, url)
        yard.use()
        yield yard
        sweep = Sweep(bench.settings, bench.records, keep_logs_s=-1)
        sweep.run()
        sweep.close()
        bench.use()
        yard.close()
    shutil.rmtree(directory)


def task_output(result: Result) -> list[str]:
    """What the container printed, line by line."""
    return [line for line in result.log.replace("\r\n", "\n").split("\n") if line and not line.startswith("[task")]
