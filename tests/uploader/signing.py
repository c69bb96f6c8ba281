"""A signer as the uploader sees it: one HTTP verb behind a Unix socket, once the same answer for the same manifest."""

import base64
import json
import socketserver
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self

NAMES = {"public/chain-of-trust.json": "text/plain", "public/chain-of-trust.json.sig": "application/octet-stream"}


@dataclass
class Signer:
    """Start it as a context manager; `problems` are answered first, one a request: (status, code)."""

    path: Path
    problems: list[tuple[int, str]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    omitted: list[dict[str, str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        signer = self

        class Bound(_Handler):
            pass

        Bound.signer = signer
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._server = _Server(str(self.path), Bound)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.path.unlink(missing_ok=True)

    @property
    def signed(self) -> list[dict[str, Any]]:
        """The artifacts of the last request."""
        artifacts: list[dict[str, Any]] = self.requests[-1]["artifacts"]
        return artifacts

    def answer(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.problems:
            status, code = self.problems.pop(0)
            return status, {"error": {"code": code, "message": "on demand", "retryable": status >= 500}}
        if any(one["artifacts"] != request["artifacts"] for one in self.requests):
            return 409, {"error": {"code": "signed-otherwise", "message": "signed already", "retryable": False}}
        self.requests.append(request)
        documents = [
            {"name": name, "content_type": kind, "content_base64": base64.b64encode(f"signed {name}".encode()).decode()}
            for name, kind in NAMES.items()
        ]
        return 200, {"documents": documents, "omitted": self.omitted}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    signer: Signer

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.signer.authorizations.append(self.headers["authorization"])
        status, answer = self.signer.answer(request)
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
