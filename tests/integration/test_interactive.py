"""Interactive shells on a real worker: from the artifact's address to a prompt, and what no task can reach."""

import json
import struct
from collections.abc import Iterator

import pytest
import requests
import websocket

from .stack import Stack, until

ARTIFACT = "private/generic-worker/shell.html"
HOLD = [["bash", "-c", "while [ ! -e end ]; do sleep 0.05; done; echo over"]]
PATIENCE_S = 20.0


class Terminal:
    """A web socket that speaks protocol v2."""

    def __init__(self, url: str) -> None:
        self.socket = websocket.create_connection(url, timeout=PATIENCE_S)
        self.output = b""
        self.told: list[dict[str, object]] = []

    def type(self, text: str) -> None:
        self.socket.send_binary(b"\x01" + text.encode())

    def resize(self, rows: int, columns: int) -> None:
        self.socket.send_binary(b"\x02" + struct.pack("<HH", rows, columns))

    def read_until(self, text: str) -> str:
        while text.encode() not in self.output:
            self._receive()
        return self.output.decode(errors="replace")

    def code(self) -> int:
        """The closing code, after everything else was read."""
        while (code := self._receive()) is None:
            pass
        return code

    def _receive(self) -> int | None:
        opcode, data = self.socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return int(struct.unpack("!H", data[:2])[0])
        if opcode == websocket.ABNF.OPCODE_TEXT:
            self.told.append(json.loads(data))
        else:
            self.output += data
        return None


class Held:
    """A running task with a shell's address."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.run = stack.create(HOLD, features={"interactive": True})
        self.page = str(until(self._page, "the shell is published"))
        self.socket_url = self.page.partition("?")[0].rstrip("/").replace("http", "ws", 1)

        self._terminals: list[Terminal] = []

    def terminal(self, query: str = "") -> Terminal:
        self._terminals.append(Terminal(self.socket_url + query))
        return self._terminals[-1]

    def end(self) -> None:
        """The task's own commands come to their end."""
        (self.stack.settings.layout.task_directory(self.run) / "end").touch()

    def leave(self) -> None:
        for terminal in self._terminals:
            terminal.socket.close(timeout=1)
        if self.stack.runs(self.run)[0]["state"] == "running":
            self.end()
            self.stack.resolution(self.run)

    def _page(self) -> str | None:
        url = self.stack.client().buildSignedUrl("getArtifact", self.run.task_id, 0, ARTIFACT)
        return requests.get(url, allow_redirects=False, timeout=10).headers.get("Location")


@pytest.fixture
def held(stack: Stack) -> Iterator[Held]:
    task = Held(stack)
    yield task
    task.leave()


def test_a_prompt_comes_out_of_the_artifacts_address(stack: Stack, held: Held) -> None:
    terminal = held.terminal()
    terminal.type("echo $((6 * 7))-$USER; exit 3\r")
    assert "42-task_" in terminal.read_until("42-task_")
    assert terminal.code() == 1000
    held.end()
    assert stack.resolution(held.run) == ("completed", "completed")
