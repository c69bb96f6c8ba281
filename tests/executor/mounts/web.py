"""A web server of a test: each path does what the test says; it stands in for the task's proxy, too."""

import json
import time
from collections.abc import Callable

from simulators import listener

Handler = Callable[["Request"], None]


class Request(listener.Request):
    """One request; handlers write the answer with `reply`, or byte by byte."""

    web: "Web"

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.web.requests.append(self.path)
        self.close_connection = True
        handler = self.web.pages.get(path)
        if handler is None:
            self.reply(b'{"code": "ResourceNotFound", "message": "no such thing\\nat all"}', 404)
        else:
            handler(self)


class Web(listener.Listener):
    """Listens on every local address, so that each task's own address of the proxy leads here."""

    def __init__(self) -> None:
        self.pages: dict[str, Handler] = {"/api/purge-cache/v1/purge-cache/proj-x%2Flinux": self._no_purges}
        self.requests: list[str] = []
        super().__init__(Request, ("0.0.0.0", 0), web=self)
        self.url = f"http://localhost:{self.port}"

    @staticmethod
    def _no_purges(request: Request) -> None:
        request.reply(b'{"requests": []}')

    def page(self, path: str, body: bytes, status: int = 200, **fields: str) -> str:
        """Always the same answer; its URL."""
        self.pages[path] = lambda request: request.reply(body, status, **fields)
        return self.url + path

    def on(self, path: str, handler: Handler) -> str:
        self.pages[path] = handler
        return self.url + path

    def artifact(self, task_id: str, name: str, body: bytes, status: int = 200) -> None:
        """As the queue does: a redirect to where it is stored."""
        where = self.page(f"/stored/{task_id}/{name}", body)
        path = f"/api/queue/v1/task/{task_id}/artifacts/{name}"
        if status == 200:
            self.page(path, b"", 303, Location=where)
        else:
            self.page(path, json.dumps({"code": "X", "message": "not for you"}).encode(), status)

    def purge(self, name: str, before: str) -> None:
        """What the purge-cache service answers from now on."""
        self.page(
            "/api/purge-cache/v1/purge-cache/proj-x%2Flinux",
            json.dumps({"requests": [{"cacheName": name, "before": before}]}).encode(),
        )

    def count(self, path: str) -> int:
        return sum(request.split("?")[0] == path for request in self.requests)


def cut_after(body: bytes, at: int, etag: str = '"1"') -> Handler:
    """The first answer breaks off; Range is understood."""
    answered: list[bool] = []

    def handler(request: Request) -> None:
        start = int(request.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        request.send_header("ETag", etag)
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        request.wfile.write(body[start:] if answered else body[start:at])
        answered.append(True)

    return handler


def endless(request: Request) -> None:
    """Sends for ever."""
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(b"x" * 65536)
    except OSError:
        return


def trickle(request: Request) -> None:
    """Never stalls, never ends."""
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(b"x")
            time.sleep(0.05)
    except OSError:
        return
