"""Sockets of a run: who sees one can connect to it."""

import errno
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskward.executor.listener import listener

_ROUNDS = 300


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tw") as directory:
        yield Path(directory) / "run.sock"


def test_whoever_sees_the_socket_can_connect(path: Path) -> None:
    seen, listeners = [], []

    def call() -> None:
        for number in range(_ROUNDS):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller:
                seen.append(first_answer(caller, path.with_name(f"{number}.sock")))

    caller = threading.Thread(target=call)
    caller.start()
    for number in range(_ROUNDS):
        listeners.append(listener(path.with_name(f"{number}.sock"), socket.SOCK_SEQPACKET, 0o600))
    caller.join()
    for made in listeners:
        made.close()

    assert seen == [0] * _ROUNDS


def first_answer(caller: socket.socket, path: Path) -> int:
    """The error number of the first attempt to connect to a path that exists."""
    while (error := caller.connect_ex(str(path))) == errno.ENOENT:
        pass
    return error


def test_a_socket_left_by_a_killed_process_is_replaced(path: Path) -> None:
    listener(path, socket.SOCK_STREAM, 0o600).close()

    owner = os.getgid() if os.geteuid() == 0 else None
    with listener(path, socket.SOCK_STREAM, 0o660, owner), socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))

    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert [found.name for found in path.parent.iterdir()] == ["run.sock"]


def test_a_socket_that_cannot_be_made_is_said() -> None:
    with pytest.raises(FileNotFoundError):
        listener(Path("/nowhere/run.sock"), socket.SOCK_STREAM, 0o600)
