"""The other sides of the gateway: a task that prints, readers over real sockets, the process itself."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from redis import Redis

from simulators.redis import RedisServer

TASK_ID = "fN1SbArXTPSVFNUvaOlinQ"
PATIENCE_S = 20.0


def eventually(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Wait until `condition` holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


class TaskLog:
    """The executor's and the task's side of one log."""

    def __init__(self, logs_dir: Path, run_id: int, *, prepared: bool = True) -> None:
        self.folder = logs_dir / f"{TASK_ID}-{run_id}"
        self.path = self.folder / "live.log"
        self.run_id = run_id
        self.token = secrets.token_urlsafe(16)
        if prepared:
            self.prepare()

    def prepare(self) -> None:
        self.folder.mkdir()
        self.path.touch()

    def publish(self, redis: Redis, path: str | None = None) -> Self:
        entry = {"taskId": TASK_ID, "runId": self.run_id, "path": str(self.path) if path is None else path}
        redis.set(f"tw:log:{self.token}", json.dumps(entry))
        return self

    def write(self, data: bytes) -> None:
        with self.path.open("ab", buffering=0) as file:
            file.write(data)

    def finish(self) -> None:
        (self.folder / "done").touch()


class Reader:
    """An HTTP client over a bare socket; reads as little or as much as a test wants."""

    def __init__(self, port: int, target: str, *, method: str = "GET", version: str = "1.1", **headers: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        lines = [f"{method} {target} HTTP/{version}", "Host: gateway", *(f"{k}: {v}" for k, v in headers.items())]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._input = b""
        self._chunk_left = -1
        self.complete = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def head(self) -> "tuple[int, dict[str, str]]":
        """Status and headers (names in lower case)."""
        while b"\r\n\r\n" not in self._input:
            self._receive()
        head, _, self._input = self._input.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in fields)
        self.headers = {name.lower(): value for name, value in headers.items()}
        return int(status.split(" ")[1]), self.headers

    def rest(self) -> bytes:
        """The body up to its end; `complete` tells whether the end was announced."""
        if self.headers.get("transfer-encoding") == "chunked":
            return self._chunks(lambda _: False)
        body = self._until_close()
        self.complete = len(body) == int(self.headers.get("content-length", -1))
        return body

    def some(self, size_bytes: int) -> bytes:
        """At least so many bytes of a chunked body."""
        return self._chunks(lambda body: len(body) >= size_bytes)

    def _chunks(self, enough: Callable[[bytearray], bool]) -> bytes:
        body = bytearray()
        while not enough(body) and not self.complete:
            try:
                piece = self._chunk_piece()
            except ConnectionError:
                break
            body += piece
        return bytes(body)

    def _chunk_piece(self) -> bytes:
        if self._chunk_left < 0:
            self._chunk_left = int(self._line(), 16)
            if not self._chunk_left:
                self.complete = self._line() == b""
                return b""
        if not self._chunk_left:
            assert self._line() == b""
            self._chunk_left = -1
            return b""
        if not self._input:
            self._receive()
        piece, self._input = self._input[: self._chunk_left], self._input[self._chunk_left :]
        self._chunk_left -= len(piece)
        return piece

    def _line(self) -> bytes:
        while b"\r\n" not in self._input:
            self._receive()
        line, _, self._input = self._input.partition(b"\r\n")
        return line

    def _until_close(self) -> bytes:
        body = [self._input]
        self._input = b""
        while True:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionError:
                data = b""
            if not data:
                return b"".join(body)
            body.append(data)

    def _receive(self) -> None:
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionError("closed by the gateway")
        self._input += data


class Gateway:
    """The real process, with a folder for logs."""

    def __init__(self, redis: RedisServer, **keys: object) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="twg"))
        self.logs_dir = self.directory / "logs"
        self.logs_dir.mkdir()
        self.status_socket = self.directory / "status.sock"
        self.config = self.directory / "worker.toml"
        self._keys: dict[str, object] = {
            "logs_dir": str(self.logs_dir),
            "shells_dir": str(self.directory),
            "redis_socket": str(redis.socket),
            "redis_password_file": str(redis.address("gateway").password_file),
            "status_socket": str(self.status_socket),
            "port": 0,
            **keys,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._redis = redis.client("executor")
        self._runs = 0

    def start(self) -> Self:
        if self.port:
            self._keys["port"] = self.port
        self.config.write_text(worker_file(self._keys))
        log = self.directory / "gateway.log"
        with log.open("wb") as stream:
            command = [sys.executable, "-m", "taskward.gateway", "--config", str(self.config)]
            self.process = subprocess.Popen(command, stderr=stream, stdin=subprocess.DEVNULL)
        eventually(lambda: b"Booting worker" in log.read_bytes())
        found = re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text().partition("Listening at")[2])
        assert found, log.read_text()
        self.port = int(found[1])
        return self

    def log(self, *, prepared: bool = True) -> TaskLog:
        """A log with a token of its own."""
        self._runs += 1
        return TaskLog(self.logs_dir, self._runs, prepared=prepared).publish(self._redis)

    def read(self, log: TaskLog, query: str = "", **headers: str) -> Reader:
        return Reader(self.port, f"/log/{log.token}{query}", **headers)

    def answer(self, target: str, *, method: str = "GET", **headers: str) -> "tuple[int, dict[str, str], bytes]":
        with Reader(self.port, target, method=method, **headers) as reader:
            status, fields = reader.head()
            return status, fields, b"" if method == "HEAD" else reader.rest()

    def status(self, path: str) -> str:
        """What the status socket answers."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.status_socket))
            sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            answer = b"".join(iter(lambda: sock.recv(1 << 16), b""))
        return answer.partition(b"\r\n\r\n")[2].decode()

    def metric(self, name: str) -> int:
        found = re.search(rf"^taskward_gateway_{re.escape(name)} (\d+)$", self.status("/metrics"), re.MULTILINE)
        assert found, name
        return int(found[1])

    @property
    def worker_pid(self) -> int:
        assert self.process
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    @property
    def stderr(self) -> str:
        return (self.directory / "gateway.log").read_text()

    def kill(self) -> None:
        """kill -9 of both its processes."""
        assert self.process
        os.kill(self.worker_pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def remove(self) -> None:
        if self.process and self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def worker_file(gateway: dict[str, object]) -> str:
    """A worker's whole configuration file."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in gateway.items()]
    return "\n".join(
        [
            "[taskcluster]",
            'root_url = "http://127.0.0.1:1"',
            'client_id = "worker"',
            'access_token_file = "/nonexistent"',
            "[worker]",
            'task_queue_id = "proj-x/linux"',
            'worker_group = "dc1"',
            'worker_id = "w-1"',
            'state_dir = "/nonexistent"',
            "[gateway]",
            *lines,
        ]
    )
