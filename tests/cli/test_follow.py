import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from taskward.cli.follow import LogFollower, RunState

LOG = b"".join(b"line %d\n" % number for number in range(2000))


class Gateway(http.server.BaseHTTPRequestHandler):
    """Cuts every connection after some bytes, as a bad network does."""

    protocol_version = "HTTP/1.0"
    cut_after = 700
    resolved = False
    ranges: list[str]
    promised: list[int]

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.ranges.append(asked)
        first = int(asked.removeprefix("bytes=").rstrip("-") or 0) if asked else 0
        self.send_response(206 if asked else 200)
        if not asked and self.promised:
            self.send_header("Content-Length", str(self.promised.pop()))
        self.end_headers()
        self.wfile.write(LOG[first:] if self.resolved and not asked else LOG[first : first + self.cut_after])

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal."""


class Queue:
    """A task that is pending, then running for some looks, then resolved."""

    def __init__(self, url: str, handler: type[Gateway], looks: int) -> None:
        self._url, self._handler, self._looks = url, handler, looks

    def status(self, _task_id: str) -> dict[str, Any]:
        self._looks -= 1
        state = "running" if self._looks > 0 else "completed"
        self._handler.resolved = state == "completed"
        run = {"runId": 0, "state": state, "workerGroup": "g", "workerId": "w", "reasonResolved": "completed"}
        return {"status": {"state": state, "runs": [run]}}

    def buildUrl(self, *_: str) -> str:  # noqa: N802 - the client's name
        return self._url


@pytest.fixture
def gateway() -> Iterator[tuple[str, type[Gateway]]]:
    handler = type("Handler", (Gateway,), {"ranges": [], "promised": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/log", handler
        server.shutdown()
        thread.join()


def _follow(url: str, handler: type[Gateway], looks: int) -> tuple[bytes, list[RunState]]:
    events = list(LogFollower(Queue(url, handler, looks), "task").events())
    return b"".join(e for e in events if isinstance(e, bytes)), [e for e in events if isinstance(e, RunState)]


def test_every_byte_comes_once_though_connections_break(gateway: tuple[str, type[Gateway]]) -> None:
    log, _ = _follow(*gateway, looks=4)
    assert log == LOG


def test_broken_connection_goes_on_where_it_ended(gateway: tuple[str, type[Gateway]]) -> None:
    _follow(*gateway, looks=4)
    assert gateway[1].ranges == ["bytes=0-", "bytes=700-", "bytes=1400-", ""]


def test_states_are_told_once_each(gateway: tuple[str, type[Gateway]]) -> None:
    _, states = _follow(*gateway, looks=4)
    assert [state.state for state in states] == ["running", "completed"]


def test_end_of_the_log_is_asked_for_again_when_the_connection_breaks(gateway: tuple[str, type[Gateway]]) -> None:
    gateway[1].promised = [len(LOG), len(LOG) + 1]  # the first answer ends too soon
    log, _ = _follow(*gateway, looks=2)
    assert log == LOG
    assert gateway[1].ranges == ["bytes=0-", "", ""]


def test_unreachable_gateway_delays_the_log_but_loses_nothing(gateway: tuple[str, type[Gateway]]) -> None:
    url, handler = gateway
    queue = Queue("http://127.0.0.1:9/log", handler, 3)
    follower, log = LogFollower(queue, "task"), b""
    for event in follower.events():
        if isinstance(event, RunState) and event.resolved:
            queue._url = url  # the backing log lies elsewhere
        if isinstance(event, bytes):
            log += event
    assert log == LOG
