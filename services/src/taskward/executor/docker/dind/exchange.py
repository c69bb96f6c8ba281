"""One request and its answer."""

import json
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from taskward.executor.docker.dind.errors import Refusal
from taskward.executor.docker.dind.request import Request
from taskward.executor.docker.dind.wire import Answer

_REASONS: Final = {101: "UPGRADED", 200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified"}
_SEND_WITHIN_S: Final = 300.0
_JSON: Final = "application/json"
RAW: Final = "application/vnd.docker.raw-stream"


class Exchange:
    """With one client.

    Args:
        on_hangup: what is told here is called when the client goes away before it has its answer.
    """

    def __init__(self, connection: socket.socket, request: Request,
                 on_hangup: Callable[[Callable[[], None]], None]) -> None:  # fmt: skip
        self.connection, self.request, self.on_hangup = connection, request, on_hangup
        self.answered = self.upgraded = False

    def reply(self, status: int = 200, data: Any = None) -> None:
        """JSON, or nothing."""
        body = b"" if status in (204, 304) else json.dumps(data).encode() + b"\n"
        self._head(status, {"Content-Type": _JSON, "Content-Length": str(len(body))})
        self._send(body)

    def empty(self, status: int = 204) -> None:
        """No body."""
        self._head(status, {"Content-Length": "0"} if status == 200 else {})

    def text(self, text: str, **headers: str) -> None:
        """For people."""
        kind = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))}
        self._head(200, {**kind, **_named(headers)})
        self._send(text.encode())

    def refuse(self, refusal: Refusal) -> None:
        """As the daemon tells what it does not do."""
        self.reply(refusal.status, {"message": refusal.message})

    def stream(self, pieces: Iterable[bytes], kind: str = _JSON, **headers: str) -> None:
        """Each piece as soon as it is there."""
        self._head(200, {"Content-Type": kind, "Transfer-Encoding": "chunked", **_named(headers)})
        for piece in pieces:
            if piece and self.request.method != "HEAD":
                self._send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self._send(b"0\r\n\r\n")

    def relay(self, answer: Answer, kind: str = "") -> None:
        """What the daemon says, as it comes; the daemon stops when the client is gone."""
        with answer:
            self.on_hangup(answer.abort)
            self.stream(answer.pieces(), kind or answer.header("Content-Type") or _JSON)

    def messages(self, messages: Iterable[Any]) -> None:
        """JSON, one message after the other; what goes wrong meanwhile is the last."""

        def lines() -> Iterable[bytes]:
            try:
                for message in messages:
                    yield json.dumps(message).encode() + b"\r\n"
            except Refusal as refusal:
                told = {"errorDetail": {"message": refusal.message}, "error": refusal.message}
                yield json.dumps(told).encode() + b"\r\n"

        self.stream(lines())

    def head(self, status: int, **headers: str) -> None:
        """An answer without a body."""
        self._head(status, {"Content-Length": "0", **_named(headers)})

    def upgrade(self) -> socket.socket:
        """The client's connection, from now on for raw bytes."""
        self.upgraded = True
        if self.request.upgrades:
            self._head(101, {"Content-Type": RAW, "Upgrade": "tcp"}, connection="Upgrade")
        else:
            self._head(200, {"Content-Type": RAW})
        self.connection.settimeout(None)
        return self.connection

    def _head(self, status: int, headers: dict[str, str], connection: str = "close") -> None:
        self.answered = True
        self.connection.settimeout(_SEND_WITHIN_S)
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Refused')}", f"Connection: {connection}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._send("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"), head=True)

    def _send(self, data: bytes, *, head: bool = False) -> None:
        if data and (head or self.request.method != "HEAD"):
            self.connection.sendall(data)


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): text for name, text in headers.items()}
