"""Who may not have a shell, and what cannot keep others from theirs."""

import os

import pytest

from executor.bench import Bench
from executor.holding import Holding
from executor.terminal import INTERACTIVE, connect
from taskward.core.shell import (
    LARGEST_MESSAGE,
    Exited,
    Opened,
    Refused,
    encode,
)


@pytest.mark.root
def test_the_tasks_own_user_cannot_ask_for_a_shell(holding: Holding) -> None:
    shell = holding.shell()
    probe = (
        "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\\n"
        f"try: s.connect('{holding.socket}')\\n"
        "except OSError as error: print('refu' + 'sed', type(error).__name__)"
    )
    shell.type(f'printf "%b" "{probe}" | python3\r')
    assert "refused PermissionError" in shell.read_until("refused P")


@pytest.mark.root
def test_a_stranger_is_turned_away_even_where_the_socket_is_open_to_all(holding: Holding) -> None:
    for path, mode in ((holding.socket.parent, 0o755), (holding.socket, 0o666)):
        path.chmod(mode)
    holding.socket.parent.parent.chmod(0o755)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            connection = connect(holding.socket)
            connection.send(encode(INTERACTIVE))
            os.write(writing, connection.recv(LARGEST_MESSAGE) or b"nothing")
        except OSError as error:
            os.write(writing, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        assert answer.read() in (b"nothing", b"BrokenPipeError", b"ConnectionResetError")


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00", b"{}", b"[]", b"null", b'{"type": "Open"}', b'{"type": "__init__"}', b"[" * 15000, b"x" * 60000,
        b'{"type": "Open", "argv": "sh", "terminal": true, "resume_s": 1}',
        b'{"type": "Open", "argv": [], "terminal": true, "resume_s": "1"}',
        b'{"type": "Open", "argv": [], "terminal": true, "resume_s": 1, "uid": 0}',
        b'{"type": "Exited", "exit_code": 0}', b'{"type": "End"}', b'{"type": "Attach", "session": "../x"}',
    ],
    ids=lambda junk: junk[:40].decode(errors="replace"),
)  # fmt: skip
def test_junk_from_the_gateway_costs_only_its_own_connection(holding: Holding, junk: bytes) -> None:
    with connect(holding.socket) as connection:
        connection.send(junk)
        answer = connection.recv(LARGEST_MESSAGE)
        assert answer == b"" or b"Refused" in answer
    assert holding.shell().session


def test_a_connection_is_one_shell(holding: Holding) -> None:
    shell = holding.shell()
    shell.connection.send(encode(INTERACTIVE))
    assert shell.told() is None


def test_silent_connections_do_not_keep_others_out_for_ever(holding: Holding) -> None:
    silent = [connect(holding.socket) for _ in range(60)]
    for connection in silent:
        connection.close()
    Bench.wait_until(lambda: isinstance(holding.shell().answer, Opened))


def test_ten_shells_are_the_most(holding: Holding) -> None:
    shells = [holding.shell() for _ in range(10)]
    assert all(shell.session for shell in shells)

    answer = holding.shell().answer
    assert isinstance(answer, Refused)
    assert answer.busy

    shells[0].type("exit\r")
    assert shells[0].told() == Exited(0)
    assert holding.shell().session
