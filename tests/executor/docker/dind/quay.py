"""A task's Docker socket in front of a simulated daemon, which writes down what reaches it."""

import hashlib
import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from taskward.executor.docker.dind.config import Confinement
from taskward.executor.docker.dind.context import Context
from taskward.executor.docker.dind.errors import NOT_FOUND, Refusal
from taskward.executor.docker.dind.exchange import Exchange
from taskward.executor.docker.dind.holdings import Container, Holdings, Image
from taskward.executor.docker.dind.server import Server
from taskward.executor.docker.dind.wire import Wire
from taskward.executor.docker.labels import RUN, STATE, WORKER

IMAGE_ID = f"sha256:{'a' * 64}"
CONTAINER_ID = "b" * 64
VICTIM_ID = "c" * 64
MAIN_ID = "e" * 64
LABELS = {WORKER: "w", STATE: "/state", RUN: "the-run/0"}
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Asked:
    """One request that has reached the daemon."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Dockerd(ThreadingUnixStreamServer):
    """Says yes to everything, and has no file in any container; `stories` are answers to paths that end so.

    Who waits for a container waits until he gives up: then `abandoned` is set.
    """

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.asked: list[Asked] = []
        self.stories: dict[str, Any] = {}
        self.made = [CONTAINER_ID]
        self.abandoned = threading.Event()
        super().__init__(str(path), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is nothing to be told."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def dockerd(self) -> Dockerd:
        assert isinstance(self.server, Dockerd)
        return self.server

    def answer(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        target = urlsplit(self.path)
        path = "/" + target.path.split("/", 2)[2]
        self.dockerd.asked.append(Asked(self.command, path, parse_qs(target.query), body))
        if path.endswith("/wait"):
            self._stall()
            return
        text = json.dumps(self._story(path)).encode()
        is_absent = self.command == "HEAD" and path.endswith("/archive")
        self.send_response(404 if is_absent else 201 if self.command == "POST" else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _story(self, path: str) -> Any:
        for end, told in self.dockerd.stories.items():
            if path.endswith(end):
                return told
        if path == "/containers/json":
            return [{"Id": each} for each in self.dockerd.made]
        if path in ("/containers/create", "/commit") or path.endswith("/exec"):
            self.dockerd.made.append(secrets.token_hex(32))
            return {"Id": self.dockerd.made[-1]}
        if path == "/volumes/create":
            return {"Name": self.dockerd.asked[-1].document["Name"]}
        if path.startswith("/images/"):
            return {"Id": IMAGE_ID, "Size": 1}
        return {}

    def _stall(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        self.rfile.read()
        self.dockerd.abandoned.set()

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


for _method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler.answer)


class Errand:
    """A porter that pulls nothing, and notes what it should build."""

    def __init__(self) -> None:
        self.pulled: list[str] = []
        self.built: list[dict[str, Any]] = []
        self.loaded: list[str] = []
        self.called: list[str] = []

    def pull(self, name: str, pin: str) -> None:
        self.pulled.append(name)
        if name.startswith("absent"):
            raise Refusal(NOT_FOUND, f"{name}: manifest unknown")

    def names(self, file: int) -> list[str]:
        return self.called

    def load(self, file: int, sha256: str, pin: str) -> None:
        assert hashlib.sha256(os.pread(file, 1 << 20, 0)).hexdigest() == sha256
        self.loaded.append(pin)

    def build(self, request: dict[str, Any], context: Iterable[bytes], exchange: Exchange,
              done: Callable[[str], None]) -> None:  # fmt: skip
        self.built.append(request)
        for _ in context:
            pass
        done("")
        exchange.messages([{"stream": "built"}])


@dataclass(frozen=True)
class Reply:
    status: int
    head: str
    body: bytes

    @property
    def message(self) -> str:
        return str(json.loads(self.body)["message"])

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Quay:
    """The run has one image, ``busybox:latest``, and one container, ``mine``."""

    def __init__(self, directory: Path) -> None:
        self.dockerd = Dockerd(directory / "dockerd.sock")
        self.dockerd.stories["/taskward-w-run/json"] = {"Id": MAIN_ID, "Config": {"Hostname": "host-name-1"}}
        self.porter = Errand()
        self.holdings = Holdings(most_containers=3, most_bytes=1000)
        self.holdings.add_image(Image(IMAGE_ID, "taskward/dind-w:run-x.1"), "busybox:latest")
        self.holdings.add_container(Container(CONTAINER_ID, "mine", "busybox", IMAGE_ID, "default"))
        self.path = directory / "dind.sock"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen()
        stopped, self._stop = os.pipe()
        run = Confinement(
            LABELS, "taskward-w-run-dind-", "twnetwork", "/taskward-w/run", memory_bytes=1 << 30, processes=100,
            cpus=1.5, processors="0", hosts={"taskcluster": "172.18.0.1"},
        )  # fmt: skip
        wire = Wire(f"unix://{directory / 'dockerd.sock'}", "1.41", TIMEOUT_S)
        pins = ("taskward/dind-w", "run-x.")
        context = Context(wire, self.holdings, run, self.porter, "taskward-w-run", pins, ("docker.io",), directory)
        self._thread = threading.Thread(target=Server(self._listener, stopped, context).run)
        self._thread.start()

    def close(self) -> None:
        os.close(self._stop)
        self._thread.join(TIMEOUT_S)
        self._listener.close()
        self.dockerd.shutdown()
        self.dockerd.server_close()

    @property
    def asked(self) -> list[Asked]:
        """What has reached the daemon."""
        return self.dockerd.asked

    def ask(self, method: str, target: str, body: Any = None, **headers: str) -> Reply:
        """A request as clients make it; `body` is JSON, or bytes as they are."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"Host": "docker", "Content-Length": str(len(data)), **headers}
        lines = [f"{method} {target} HTTP/1.1", *(f"{name.replace('_', '-')}: {text}" for name, text in named.items())]
        return self.say("\r\n".join([*lines, "", ""]).encode() + data)

    def create(self, body: Any) -> Reply:
        """A container."""
        return self.ask("POST", "/v1.41/containers/create", body)

    def say(self, data: bytes) -> Reply:
        """Whatever bytes."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(str(self.path))
            connection.sendall(data)
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece
        head, _, content = answer.partition(b"\r\n\r\n")
        text = head.decode()
        chunked = "Transfer-Encoding: chunked" in text
        return Reply(int(text.split()[1]), text, _joined(content) if chunked else content)


def _joined(chunks: bytes) -> bytes:
    found = b""
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        found, chunks = found + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return found
