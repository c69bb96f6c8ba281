"""Shells that outlive a connection, a gateway, or neither; and docker-worker's protocol v1."""

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import websocket

from gateway.conftest import StartGateway
from gateway.rig import Gateway, eventually
from gateway.shell_rig import Task
from simulators.redis import RedisServer
from taskward.core.shell import Attach, End, Refused

READY = b"\x64"


@pytest.fixture
def task(gateway: Gateway, redis_server: RedisServer) -> Iterator[Task]:
    with Task(gateway, redis_server.client("executor")) as task:
        yield task


def test_a_connection_that_was_cut_off_goes_on_with_what_it_missed(task: Task) -> None:
    with task.terminal("?session=new") as first:
        name = first.session()["session"]
        first.type("for n in 1 2 3; do echo line $n; sleep 0.1; done; echo all of it\r")
        first.until("line 1\r\n")
        had = len(first.output)
        first.cut()
    eventually(lambda: len(task.received) == 1)
    with task.terminal(f"?session={name}&offset={had}") as second:
        assert second.session() == {"type": "session", "session": name, "offset": had, "missed": 0}
        second.until("all of it\r\n")
        assert b"line 2\r\nline 3\r\n" in second.output
        assert b"line 1\r\n" not in second.output
        assert len(task.shells) == 1


def test_a_page_that_is_reloaded_gets_everything_again(task: Task) -> None:
    with task.terminal("?session=new") as first:
        name = first.session()["session"]
        first.type("echo $((6 * 7))\r")
        first.until("42\r\n")
        first.socket.close(status=1001, timeout=1)
    with task.terminal(f"?session={name}&offset=0") as second:
        second.until("42\r\n")


def test_who_leaves_for_good_ends_the_shell(task: Task) -> None:
    with task.terminal("?session=new") as terminal:
        name = terminal.session()["session"]
        terminal.socket.close(status=1000, timeout=1)
    eventually(lambda: not task.pids)
    with task.terminal(f"?session={name}") as again:
        assert (again.until_closed(), again.reason) == (4404, "this session is over")


def test_the_exit_code_is_told_to_who_named_a_session(task: Task) -> None:
    with task.terminal("?session=new") as terminal:
        terminal.type("exit 3\r")
        assert terminal.until_closed() == 1000
        assert terminal.told[-1] == {"type": "exit", "code": 3}


def test_a_shell_whose_user_does_not_come_back_ends(start_gateway: StartGateway, redis_server: RedisServer) -> None:
    gateway = start_gateway(shell_resume_s=0.3)
    with Task(gateway, redis_server.client("executor")) as task:
        with task.terminal("?session=new") as terminal:
            terminal.until("$ ")
            terminal.cut()
        eventually(lambda: not task.pids)
        assert task.received[-1] == End()
        assert gateway.metric("shells") == 0


def test_a_shell_goes_on_printing_while_nobody_is_connected(task: Task) -> None:
    with task.terminal("?session=new") as first:
        name = first.session()["session"]
        first.type("seq 1 400000 | sed 's/^/number /'; echo $((6 * 7))\r")
        first.until("number 10\r\n")
        had = len(first.output)
        first.cut()
    eventually(lambda: not task.is_blocked())
    with task.terminal(f"?session={name}&offset={had}") as second:
        second.until("42\r\n")
        told = second.session()
        assert told["offset"] == had + told["missed"]
        assert 0 < len(second.output) < 3 * 2**20 or not told["missed"]


def test_a_session_has_one_connection_the_newest(task: Task) -> None:
    with task.terminal("?session=new") as first:
        name = first.session()["session"]
        with task.terminal(f"?session={name}") as second:
            assert first.until_closed() == 4409
            second.type("echo $((6 * 7))\r")
            second.until("42\r\n")


def test_a_session_of_another_run_is_not_mine(gateway: Gateway, task: Task, redis_server: RedisServer) -> None:
    with task.terminal("?session=new") as victim, Task(gateway, redis_server.client("executor"), 1) as other:
        name = victim.session()["session"]
        with other.terminal(f"?session={name}") as thief:
            assert thief.until_closed() == 4404
        assert other.received == [Attach(name)]
        victim.type("echo $((6 * 7))\r")
        victim.until("42\r\n")


@pytest.mark.parametrize("query", ["?session=" + "x" * 100, "?session=a&offset=-1", "?session=a&offset=1e9",
                                   "?session=a&offset=" + "9" * 40, "?offset=\u0661"])  # fmt: skip
def test_wishes_without_sense_are_refused(task: Task, query: str) -> None:
    with pytest.raises(Exception, match="400"):
        task.terminal(query)


def test_an_offset_ahead_of_the_end_starts_at_the_end(task: Task) -> None:
    with task.terminal("?session=new") as first:
        name = first.session()["session"]
        first.until("$ ")
        first.cut()
    with task.terminal(f"?session={name}&offset=9007199254740991") as second:
        second.type("echo $((6 * 7))\r")
        second.until("42\r\n")


def test_a_killed_gateway_costs_no_shell(start_gateway: StartGateway, redis_server: RedisServer) -> None:
    gateway = start_gateway()
    with Task(gateway, redis_server.client("executor")) as task:
        with task.terminal("?session=new") as first:
            name = first.session()["session"]
            first.type("kept=here\r")
            first.until("kept=here\r\n")
            had = len(first.output)
            gateway.kill()
        gateway.start()
        with task.terminal(f"?session={name}&offset={had}") as second:
            assert second.session()["offset"] == had
            second.type("echo still $kept\r")
            second.until("still here\r\n")
        assert Attach(name) in task.received


def test_a_gateway_that_is_stopped_sends_its_users_away_for_a_moment(
    start_gateway: StartGateway, redis_server: RedisServer
) -> None:
    gateway = start_gateway()
    with Task(gateway, redis_server.client("executor")) as task, task.terminal("?session=new") as terminal:
        terminal.until("$ ")
        assert gateway.process is not None
        gateway.process.terminate()
        assert terminal.until_closed() == 1012
        gateway.process.wait(20)
        assert task.pids
        assert End() not in task.received


def test_a_gateway_that_stops_takes_nothing_of_what_comes_after_it(
    start_gateway: StartGateway, redis_server: RedisServer
) -> None:
    gateway = start_gateway()
    with Task(gateway, redis_server.client("executor")) as task, task.terminal("?session=new") as slow:
        slow.until("$ ")
        with task.terminal("?session=new") as quick:
            name = str(quick.session()["session"])
            quick.until("$ ")
            assert gateway.process is not None
            gateway.process.terminate()
            assert quick.until_closed() == 1012
        assert gateway.process.poll() is None  # it waits for `slow`, which does not answer
        next_gateway = task.shells[name].again()[0]
        os.write(next_gateway, b"for n in $(seq 300); do echo line $n; sleep 0.001; done; echo all of ''it\r")
        printed = b""
        while b"all of it\r\n" not in printed:
            assert select.select([next_gateway], [], [], 5.0)[0], printed
            printed += os.read(next_gateway, 4096)
        assert printed.count(b"line ") == 301, "somebody else reads the terminal, too"
        os.close(next_gateway)


def test_output_and_errors_come_apart_and_the_exit_code_last(task: Task) -> None:
    with task.streams("sh", "-c", "cat%3B+echo+oops+%3E%262%3B+exit+4") as streams:
        streams.send(0, b"through")
        streams.send(102)
        assert streams.until_closed() == 1000
    assert (streams.output, streams.errors, streams.others) == (b"through", b"oops\n", [READY, b"\xc8\x04"])


def test_five_megabytes_go_in_whole(task: Task) -> None:
    with task.streams("wc", "-c") as streams:
        for _ in range(50):
            streams.send(0, b"x" * 100_000)
        streams.send(102)
        streams.until_closed()
        assert streams.output.strip() == b"5000000"


def test_version_1_can_have_a_terminal(task: Task) -> None:
    with task.streams("bash", "--norc", tty=True) as streams:
        streams.send(50, b"\x21\x00\x6f\x00")
        streams.send(0, b"stty size; exit 2\r")
        streams.until_closed()
    assert b"33 111\r\n" in streams.output
    assert streams.others == [READY, b"\xc8\x02"]


def test_version_1_can_pause(task: Task) -> None:
    with task.streams("sh", "-c", "seq+1+300000") as streams:
        streams.send(101)
        streams.send(100)
        streams.until_closed()
        assert streams.output.endswith(b"300000\n")


def test_version_1_is_told_to_wait_while_the_shell_does_not_read(task: Task, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with task.streams("sh", "-c", f"until+test+-e+{gate}%3B+do+sleep+0.02%3B+done%3B+wc+-c") as streams:
        streams.send(0, b"x" * 100_000)
        while len(streams.others) < 2:
            assert streams.receive()
        streams.send(0, b"x" * 100_000)
        streams.send(102)
        gate.touch()
        assert streams.until_closed() == 1000
    assert streams.output.strip() == b"200000"
    first, *turns, last = streams.others
    assert (first, last) == (READY, b"\xc8\x00")
    assert turns == [b"\x65", READY] * max(1, len(turns) // 2)  # once, or more often where pipes are small


def test_version_1_is_heard_while_the_shell_does_not_read(task: Task) -> None:
    """A client that pauses the output, types on, and resumes: the shell waits for both, so the gateway must not."""
    with task.streams("cat") as streams:
        streams.send(101)
        for _ in range(20):
            streams.send(0, b"x" * 100_000)
        streams.send(100)
        streams.send(102)
        assert streams.until_closed() == 1000
    assert len(streams.output) == 2_000_000


def test_version_1_that_types_on_for_ever_is_held_back_and_missed_when_it_goes(
    start_gateway: StartGateway, redis_server: RedisServer
) -> None:
    gateway = start_gateway(shell_heartbeat_s=0.2)
    with Task(gateway, redis_server.client("executor")) as task, task.streams("sleep", "60") as streams:
        streams.socket.settimeout(0.5)
        with pytest.raises(websocket.WebSocketTimeoutException):
            streams.send_without_end()
        streams.cut()
        eventually(lambda: not task.pids)


def test_version_1_is_told_of_trouble_in_its_own_words(task: Task) -> None:
    task.refusal = Refused("Too many sessions active! (at most 10)", busy=True)
    with task.streams("sh") as streams:
        streams.until_closed()
    assert streams.others == [b"\xcaToo many sessions active! (at most 10)"]


def test_version_1_is_told_that_the_task_is_over(task: Task) -> None:
    with task.streams("sh", tty=True) as streams:
        streams.until("$ ")
        task.end()
        streams.until_closed()
    assert streams.others[-1:] == [b"\xc9"]


def test_a_signal_is_told_as_shells_do(task: Task) -> None:
    with task.streams("sleep", "60") as streams:
        eventually(lambda: bool(task.pids))
        os.kill(task.pids[0], signal.SIGKILL)
        streams.until_closed()
    assert streams.others == [READY, b"\xc8\x89"]
