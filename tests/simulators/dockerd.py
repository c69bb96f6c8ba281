"""A Docker daemon that has no images and misbehaves as it is told to, on a Unix socket."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from types import TracebackType
from typing import Any, Final, Self

_VERSION: Final = {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64"}

Behaviour = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    daemon: "Dockerd"

    def do_GET(self) -> None:
        if self.path.endswith("/version"):
            self.reply(json.dumps(_VERSION).encode(), 200)
        else:
            self.reply(b'{"message": "No such image"}', 404)

    def do_POST(self) -> None:
        self.close_connection = True
        self.daemon.asked.set()
        self.daemon.behaviour(self)

    def reply(self, body: bytes, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "somebody"

    def log_message(self, format: str, *args: Any) -> None:
        return


class _Server(ThreadingUnixStreamServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up."""


class Dockerd:
    """Listens while the context lasts; `behaviour` answers whatever changes something."""

    def __init__(self, socket: Path, behaviour: Behaviour, request: type[Request] = Request) -> None:
        self.url = f"unix://{socket}"
        self.behaviour = behaviour
        self.asked, self.released, self.hung_up = threading.Event(), threading.Event(), threading.Event()
        self._server = _Server(str(socket), type("Bound", (request,), {"daemon": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def says(body: bytes, status: int = 200) -> Behaviour:
    """Reads everything, and then answers that."""

    def behave(request: Request) -> None:
        _read(request)
        request.reply(body, status)

    return behave


def hangs(request: Request) -> None:
    """Takes what is sent, never answers, and notices when the client hangs up."""
    _read(request)
    if not request.rfile.read(1):
        request.daemon.hung_up.set()


def hangs_up(request: Request) -> None:
    """At once."""
    request.connection.close()


def _read(request: Request) -> None:
    """A body in chunks, as clients send archives."""
    if request.headers.get("Transfer-Encoding") != "chunked":
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        return
    while size := int(request.rfile.readline() or b"0", 16):
        request.rfile.read(size + 2)
    request.rfile.readline()
