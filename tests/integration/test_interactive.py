"""Interactive shells on a real worker: from the artifact's address to a prompt, and what no task can reach."""

import contextlib
import json
import os
import signal
import struct
from collections.abc import Iterator

import pytest
import requests
import websocket

from simulators.patience import until

from .conftest import needs_root
from .stack import Stack, send

ARTIFACT = "private/generic-worker/shell.html"
HOLD = [["bash", "-c", "while [ ! -e end ]; do sleep 0.05; done; echo over"]]
PATIENCE_S = 20.0


class Terminal:
    """A web socket that speaks protocol v2."""

    def __init__(self, url: str) -> None:
        self.socket = websocket.create_connection(url, timeout=PATIENCE_S)
        self.output = b""
        self.reason = ""
        self.told: list[dict[str, object]] = []

    def type(self, text: str) -> None:
        self.socket.send_binary(b"\x01" + text.encode())

    def resize(self, rows: int, columns: int) -> None:
        self.socket.send_binary(b"\x02" + struct.pack("<HH", rows, columns))

    def read_until(self, text: str) -> str:
        while text.encode() not in self.output:
            self._receive()
        return self.output.decode(errors="replace")

    def leave(self) -> None:
        self.socket.close(timeout=1)
        if self.socket.sock is not None:
            self.socket.sock.close()

    def code(self) -> int:
        """The closing code, after everything else was read."""
        while (code := self._receive()) is None:
            pass
        return code

    def _receive(self) -> int | None:
        opcode, data = self.socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            self.reason = data[2:].decode()
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

    def attempt(self, query: str) -> Terminal | None:
        """A terminal, or None when there is none now."""
        try:
            return self.terminal(query)
        except (OSError, websocket.WebSocketException):
            return None

    def end(self) -> None:
        """The task's own commands come to their end."""
        (self.stack.settings.layout.task_directory(self.run) / "end").touch()

    def leave(self) -> None:
        for terminal in self._terminals:
            terminal.leave()
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
    terminal.type("echo $((6 * 7))-$TASK_ID; exit 3\r")
    assert terminal.read_until(f"42-{held.run.task_id}")
    assert terminal.code() == 1000
    held.end()
    assert stack.resolution(held.run) == ("completed", "completed")


def test_a_shell_survives_a_gateway_that_is_killed(stack: Stack, held: Held) -> None:
    first = held.terminal("?session=new")
    first.type("kept=here\r")
    first.read_until("kept=here")
    name, had = first.told[0]["session"], len(first.output)
    send(stack.pids("gateway"), signal.SIGKILL)
    with contextlib.suppress(websocket.WebSocketException, OSError):
        assert first.code() == 1012  # its child process ends in order

    def still_here() -> bool:
        """False also where the killed gateway's own child took the connection, just before its end."""
        with contextlib.suppress(websocket.WebSocketException, OSError):
            second = held.terminal(f"?session={name}&offset={had}")
            second.type("echo still $kept\r")
            return "still here" in second.read_until("still here")
        return False

    assert until(still_here, "the gateway is back with the same shell")


def test_the_task_ends_while_a_shell_is_open(stack: Stack, held: Held) -> None:
    terminal = held.terminal()
    terminal.type("sleep 1000 & disown; echo back''ground\r")
    terminal.read_until("background")
    held.end()

    assert terminal.code() == 1001
    assert terminal.reason == "the task has ended"
    assert stack.resolution(held.run) == ("completed", "completed")
    assert held.attempt("") is None


def test_killing_the_job_process_ends_the_session_with_a_clear_message(stack: Stack, held: Held) -> None:
    terminal = held.terminal()
    terminal.read_until("$ ")
    record = stack.record(held.run)
    assert record is not None
    os.kill(int(record.owner.rsplit("-", 2)[-2]), signal.SIGKILL)

    assert terminal.code() == 1001
    assert terminal.reason == "the worker's process that ran the task has died"
    assert stack.resolution(held.run) == ("exception", "worker-shutdown")
    stack.client().cancelTask(held.run.task_id)  # the queue would have it run again


@needs_root
def test_a_neighbour_reaches_no_shell(stack: Stack, held: Held) -> None:
    terminal = held.terminal()
    terminal.type("tty; echo there''it is\r")
    device = terminal.read_until("thereit is").split("/dev/pts/")[1].split()[0]
    socket_path = stack.settings.layout.shell_socket(held.run)
    probe = (
        "import os, socket\n"
        f"for path in ('/dev/pts/{device}', '{socket_path.parent}', '{socket_path}'):\n"
        "  try: os.open(path, os.O_RDWR | os.O_NOCTTY if 'pts' in path else os.O_RDONLY); print('LE' + 'AK', path)\n"
        "  except OSError as error: print('refused', type(error).__name__)\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        f"try: s.connect('{socket_path}'); print('LE' + 'AK')\n"
        "except OSError as error: print('refused', type(error).__name__)\n"
    )
    run, resolution = stack.run([["python3", "-c", probe]])

    log = stack.log(run)
    assert resolution == ("completed", "completed")
    assert log.count("refused PermissionError") == 4, log
    assert "LEAK" not in log


def test_the_artifact_is_a_page_and_its_address_stands_in_no_log(stack: Stack, held: Held) -> None:
    assert stack.artifacts(held.run)[ARTIFACT]["contentType"] == "text/html; charset=utf-8"
    assert requests.get(held.page, timeout=10).headers["Content-Type"] == "text/html; charset=utf-8"
    secret = held.socket_url.rpartition("/")[2]
    for log in (stack.state_dir / "var/log").glob("*.log"):
        assert secret not in log.read_text(errors="replace")
