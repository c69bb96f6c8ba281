"""A Docker daemon that has no images and misbehaves as it is told to, on a Unix socket."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from simulators import listener

_VERSION: Final = {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64"}
_JSON: Final = "application/json"

Behaviour = Callable[["Request"], None]


class Request(listener.Request):
    daemon: "Dockerd"

    def do_GET(self) -> None:
        if self.path.endswith("/version"):
            self.reply(json.dumps(_VERSION).encode(), Content_Type=_JSON)
        else:
            self.reply(b'{"message": "No such image"}', 404, Content_Type=_JSON)

    def do_POST(self) -> None:
        self.close_connection = True
        self.daemon.asked.set()
        self.daemon.behaviour(self)


class Dockerd(listener.Listener):
    """Listens while the context lasts; `behaviour` answers whatever changes something."""

    def __init__(self, socket: Path, behaviour: Behaviour, request: type[Request] = Request) -> None:
        self.url = f"unix://{socket}"
        self.behaviour = behaviour
        self.asked, self.hung_up = threading.Event(), threading.Event()
        super().__init__(request, socket, daemon=self)


def says(body: bytes, status: int = 200) -> Behaviour:
    """Reads everything, and then answers that."""

    def behave(request: Request) -> None:
        _read(request)
        request.reply(body, status, Content_Type=_JSON)

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
