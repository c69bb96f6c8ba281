"""Peers that break the rules of web sockets, or just fall silent."""

import base64
import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator

import pytest
import websocket

from gateway.conftest import StartGateway
from gateway.rig import Gateway, eventually
from gateway.shell_rig import Streams, Task
from simulators.redis import RedisServer


@pytest.fixture
def task(gateway: Gateway, redis_server: RedisServer) -> Iterator[Task]:
    with Task(gateway, redis_server.client("executor")) as task:
        yield task


class Raw:
    """A web socket without any library: it sends what it likes and answers nothing."""

    def __init__(self, gateway: Gateway, target: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
        key = base64.b64encode(os.urandom(16)).decode()
        head = [f"GET {target} HTTP/1.1", "Host: gateway", "Connection: Upgrade", "Upgrade: websocket",
                "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]  # fmt: skip
        self.sock.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        assert self.sock.recv(12) == b"HTTP/1.1 101"

    def until_closed(self) -> bytes:
        received = b""
        with contextlib.suppress(ConnectionError):
            while data := self.sock.recv(65536):
                received += data
        self.sock.close()
        return received


def works(task: Task) -> bool:
    with task.terminal() as terminal:
        terminal.type("echo $((6 * 7))\r")
        return b"42\r\n" in terminal.until("42\r\n")


def send_much(streams: Streams) -> None:
    for _ in range(1000):
        streams.send(0, b"x" * 100_000)


def masked(opcode: int, data: bytes, *, fin: bool = True) -> bytes:
    length = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0xFF]) + struct.pack("!Q", len(data))
    return bytes([(0x80 if fin else 0) | opcode]) + length + bytes(4) + data


@pytest.mark.parametrize(
    "frame",
    [
        b"\x82\x01a", b"\xf2\x81\x00\x00\x00\x00a", b"\x83\x80\x00\x00\x00\x00", masked(0, b"x"),
        b"\x89\xff" + b"\xff" * 12,
        masked(2, b"a", fin=False) + masked(2, b"b"), masked(8, b"\x00"), b"\xff" * 1000,
    ],
    ids=["unmasked", "reserved bits", "reserved opcode", "continues nothing", "endless ping", "two at once",
         "bad close", "noise"],
)  # fmt: skip
def test_frames_that_break_the_rules_end_their_own_web_socket(gateway: Gateway, task: Task, frame: bytes) -> None:
    raw = Raw(gateway, f"/shell/{task.secret}")
    raw.sock.sendall(frame)
    raw.until_closed()
    assert works(task)


def test_ten_megabytes_in_one_message_are_not_even_read(gateway: Gateway, task: Task) -> None:
    raw = Raw(gateway, f"/shell/{task.secret}")
    with contextlib.suppress(ConnectionError):
        raw.sock.sendall(masked(2, b"\x01" + b"x" * 10_000_000))
    raw.until_closed()
    with task.terminal() as terminal:
        terminal.socket.send_binary(b"\x01" + b"x" * 1_100_000)
        assert terminal.until_closed() == 1009
    assert works(task)


def test_fragments_without_end_are_bounded_as_well(gateway: Gateway, task: Task) -> None:
    raw = Raw(gateway, f"/shell/{task.secret}")
    with contextlib.suppress(ConnectionError):
        raw.sock.sendall(masked(2, b"\x01", fin=False))
        for _ in range(200):
            raw.sock.sendall(masked(0, b"x" * 60_000, fin=False))
    raw.until_closed()
    assert works(task)


def test_a_peer_that_falls_silent_is_parted_from(start_gateway: StartGateway, redis_server: RedisServer) -> None:
    gateway = start_gateway(shell_heartbeat_s=0.2)
    with Task(gateway, redis_server.client("executor")) as task:
        began = time.monotonic()
        raw = Raw(gateway, f"/shell/{task.secret}")
        raw.until_closed()
        assert time.monotonic() - began < 5
        eventually(lambda: not task.pids)


def test_a_peer_that_answers_may_be_idle(start_gateway: StartGateway, redis_server: RedisServer) -> None:
    gateway = start_gateway(shell_heartbeat_s=0.1)
    with Task(gateway, redis_server.client("executor")) as task, task.terminal() as terminal:
        terminal.type("sleep 1.5; echo $((6 * 7))\r")
        terminal.until("42\r\n")


def test_a_shell_that_reads_nothing_stops_its_own_user_only(gateway: Gateway, task: Task) -> None:
    with task.streams("sleep", "60") as stuck:
        stuck.socket.settimeout(1)
        with pytest.raises(websocket.WebSocketTimeoutException):
            send_much(stuck)
        assert works(task)


def test_forty_web_sockets_come_and_go(gateway: Gateway, task: Task) -> None:
    before = len(os.listdir(f"/proc/{gateway.worker_pid}/fd"))  # noqa: PTH208 - links that cannot be followed
    for _ in range(40):
        raw = Raw(gateway, f"/shell/{task.secret}")
        raw.sock.close()
    eventually(lambda: not task.pids)
    eventually(lambda: len(os.listdir(f"/proc/{gateway.worker_pid}/fd")) <= before + 2)  # noqa: PTH208
    assert works(task)
