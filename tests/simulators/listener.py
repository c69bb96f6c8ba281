"""The frame of simulated HTTP servers: a thread that listens, requests without an access log, clients that hang up."""

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn, ThreadingUnixStreamServer
from types import TracebackType
from typing import Any, Final, Self

ANY_PORT: Final = ("127.0.0.1", 0)
_POLL_S: Final = 0.02


class Request(BaseHTTPRequestHandler):
    """One request; what it is of is an attribute of each listener's own class."""

    protocol_version = "HTTP/1.1"

    def reply(self, body: bytes, status: int = 200, **fields: str) -> None:
        """Header fields have ``_`` for ``-`` in their names; who no longer listens hears nothing."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **fields}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            self.wfile.write(body)
        except OSError:
            return

    def address_string(self) -> str:
        """Who calls through a Unix socket has no address."""
        return "somebody"

    def log_message(self, format: str, *args: Any) -> None:
        """Tests need no access log."""


class _Ending(ThreadingMixIn):
    """Connections that clients keep for later do not outlive the server."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)  # type: ignore[misc]  # of the server that this is mixed into

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up, and try TLS first."""

    def hang_up(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # its client has gone
                connection.shutdown(socket.SHUT_RDWR)


class _OnPort(_Ending, ThreadingHTTPServer):
    pass


class _OnSocket(_Ending, ThreadingUnixStreamServer):
    pass


class Listener:
    """Listens while the context lasts; `bound` become attributes of its requests."""

    def __init__(self, request: type[Request], at: tuple[str, int] | Path = ANY_PORT, **bound: Any) -> None:
        kind = type("Bound", (request,), bound)
        self._server = _OnSocket(str(at), kind) if isinstance(at, Path) else _OnPort(at, kind)
        self.port = 0 if isinstance(self._server, _OnSocket) else self._server.server_port
        self.released = threading.Event()
        """For those who never answer: nobody waits any more."""
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
