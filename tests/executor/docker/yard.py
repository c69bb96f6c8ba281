"""Runs tasks in containers of busybox, and shows what is left of them."""

import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from executor.bench import Bench, Result
from simulators.docker import connect
from taskward.core.ids import RunId
from taskward.executor.docker import labels


class Purges:
    """The purge-cache service, which answers whoever asks: ``purges.requests`` is what it wants."""

    def __init__(self) -> None:
        self.requests: list[dict[str, str]] = []
        purges = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"requests": purges.requests}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Yard:
    """One worker's; `bench` is its machine."""

    def __init__(self, bench: Bench, image: str) -> None:
        self.bench, self.image = bench, image
        self.daemon, self.purges = connect(), Purges()

    def close(self) -> None:
        self.purges.close()
        self.daemon.close()

    def use(self, docker: Mapping[str, Any] | None = None, **sections: Mapping[str, Any]) -> None:
        """Other settings than the usual ones."""
        root = {"root_url": self.purges.url}
        docker = {"enabled": True, "networks_ready": 1, **(docker or {})}
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


def task_output(result: Result) -> list[str]:
    """What the container printed, line by line."""
    return [line for line in result.log.replace("\r\n", "\n").split("\n") if line and not line.startswith("[task")]
