"""A superseder: a service that says which tasks supersede which, or misbehaves as it is told to."""

import json
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Behaviour = Callable[[BaseHTTPRequestHandler, str], None]


class Superseder:
    """Listens on a port of loopback while the context lasts; `asked` are the taskIds that were asked for."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                (task_id,) = parse_qs(urlsplit(self.path).query).get("taskId", [""])
                service.asked.append(task_id)
                behaviour(self, task_id)

            def log_message(self, format: str, *args: Any) -> None:
                """Tests need no access log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1/supersedes?project=x"

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


def answers(make: Callable[[str], Any], status: int = 200, **headers: str) -> Behaviour:
    """Sends what `make` makes of the asking task's id: bytes as they are, anything else as JSON."""

    def behave(request: BaseHTTPRequestHandler, task_id: str) -> None:
        made = make(task_id)
        content = made if isinstance(made, bytes) else json.dumps(made).encode()
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        try:
            request.wfile.write(content)
        except OSError:
            return

    return behave


def lists(tasks: Sequence[str]) -> Behaviour:
    """Sends `tasks`, newest first, whoever asks."""
    return answers(lambda _: {"supersedes": list(tasks)})
