"""Interactive shells through the gateway's real process, with a simulated executor behind it: protocol v2, the page."""

import hashlib
import re
from collections.abc import Iterator

import pytest
import websocket

from gateway.rig import Gateway, eventually
from gateway.shell_rig import Task
from simulators.redis import RedisServer
from taskward.core.shell import End, Open, Refused

OTHER_SECRET = "A" * 43
HANDSHAKE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip


@pytest.fixture
def task(gateway: Gateway, redis_server: RedisServer) -> Iterator[Task]:
    with Task(gateway, redis_server.client("executor")) as task:
        yield task


def test_what_is_typed_reaches_the_shell_and_its_output_comes_back(task: Task) -> None:
    with task.terminal() as terminal:
        terminal.type("echo $((6 * 7))\r")
        assert b"42\r\n" in terminal.until("42\r\n")
        assert task.received == [Open((), terminal=True, resume_s=0.0)]


def test_input_waits_until_the_shell_has_its_terminal_in_hand(task: Task) -> None:
    with task.terminal() as terminal:
        terminal.type("echo sentinel; echo fin''ished\r")
        assert terminal.until("finished\r\n").count(b"sentinel") == 2


def test_the_size_of_the_window_is_told_as_rows_and_columns(task: Task) -> None:
    with task.terminal() as terminal:
        terminal.resize(33, 111)
        terminal.type("stty size\r")
        terminal.until("33 111\r\n")


def test_messages_may_be_text(task: Task) -> None:
    with task.terminal() as terminal:
        terminal.socket.send("\x01echo $((6 * 7))\r")
        terminal.until("42\r\n")


@pytest.mark.parametrize("message", [b"", b"\x02", b"\x02\x01\x00", b"\x63abc", b"\x00"])
def test_messages_without_sense_are_ignored(task: Task, message: bytes) -> None:
    with task.terminal() as terminal:
        terminal.socket.send_binary(message)
        terminal.type("echo $((6 * 7))\r")
        terminal.until("42\r\n")


def test_a_shell_that_ends_closes_the_web_socket_after_its_last_output(task: Task) -> None:
    with task.terminal() as terminal:
        terminal.type("seq 1 20000; exit 3\r")
        assert terminal.until_closed() == 1000
        assert terminal.reason == "exit code 3"
        assert terminal.output.rstrip().endswith(b"20000\r\nexit")
        assert terminal.told == []


def test_a_background_program_does_not_keep_the_web_socket_open(task: Task) -> None:
    with task.terminal() as terminal:
        terminal.type("sleep 30 & disown; exit\r")
        assert terminal.until_closed() == 1000


def test_a_closed_web_socket_ends_its_shell(task: Task) -> None:
    with task.terminal() as terminal:
        terminal.until("$ ")
    eventually(lambda: not task.pids)
    assert task.received[-1] == End()


def test_each_web_socket_has_a_shell_of_its_own(task: Task) -> None:
    with task.terminal() as one, task.terminal() as two:
        one.type("mine=1\r")
        two.type("echo [$mine]\r")
        two.until("[]\r\n")
        one.type("echo [$mine]\r")
        one.until("[1]\r\n")


def test_a_large_paste_arrives_whole(task: Task) -> None:
    with task.terminal() as terminal:
        terminal.until("$ ")
        terminal.type("stty -icanon -echo; echo re''ady; head -c 2000000 | md5sum; stty sane\r")
        terminal.until("ready\r\n")
        for _ in range(20):
            terminal.type("x" * 100_000)
        terminal.until(hashlib.md5(b"x" * 2_000_000, usedforsecurity=False).hexdigest())


def test_a_shell_waits_for_a_reader_and_nothing_is_lost(task: Task) -> None:
    with task.terminal() as terminal:
        terminal.type("seq 1 400000; exit\r")
        terminal.until("100\r\n")
        eventually(task.is_blocked)
        terminal.until_closed()
        lines = re.findall(rb"(\d+)\r\n", terminal.output)
        assert [int(line) for line in lines] == list(range(1, 400_001))


def test_the_web_socket_is_told_why_the_task_is_over(task: Task) -> None:
    with task.terminal() as terminal:
        terminal.until("$ ")
        task.end()
        assert (terminal.until_closed(), terminal.reason) == (1001, "the task has ended")


def test_the_web_socket_is_told_that_the_tasks_process_died(task: Task) -> None:
    with task.terminal() as terminal:
        terminal.until("$ ")
        task.end(farewell=False)
        assert terminal.until_closed() == 1001
        assert terminal.reason == "the worker's process that ran the task has died"


def test_without_a_task_there_is_no_shell(task: Task) -> None:
    task.end()
    with task.terminal() as terminal:
        assert (terminal.until_closed(), terminal.reason) == (4410, "the task has ended")


def test_too_many_shells_are_refused_for_now(task: Task) -> None:
    task.refusal = Refused("Too many sessions active! (at most 10)", busy=True)
    with task.terminal() as terminal:
        assert (terminal.until_closed(), terminal.reason) == (1013, "Too many sessions active! (at most 10)")


def test_why_no_shell_could_be_started_is_told(task: Task) -> None:
    task.refusal = Refused("no shell can be started: no memory")
    with task.terminal() as terminal:
        assert (terminal.until_closed(), terminal.reason) == (1011, "no shell can be started: no memory")


@pytest.mark.parametrize("secret", [OTHER_SECRET, "short", "%2e%2e", "a" * 200])
def test_a_wrong_secret_opens_nothing(gateway: Gateway, secret: str) -> None:
    for target in (f"/shell/{secret}", f"/shell/{secret}/shell.sock"):
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            websocket.create_connection(f"ws://127.0.0.1:{gateway.port}{target}", timeout=10)
        assert refused.value.status_code == 401
    assert gateway.answer(f"/shell/{secret}/")[0] == 401


def test_a_wrong_secret_is_told_nothing_but_access_denied(gateway: Gateway) -> None:
    status, _, body = gateway.answer(f"/shell/{OTHER_SECRET}", **HANDSHAKE)
    assert (status, body) == (401, b"Access denied")


def test_the_token_of_a_log_opens_no_shell_and_the_other_way_round(gateway: Gateway, task: Task) -> None:
    assert gateway.answer(f"/shell/{gateway.log().token}/")[0] == 401
    assert gateway.answer(f"/log/{task.secret}")[0] == 401


@pytest.mark.parametrize("origin", ["https://tc.example.com", "null", "http://evil.example.com"])
def test_web_sockets_of_any_origin_that_know_the_secret_are_welcome(task: Task, origin: str) -> None:
    with task.terminal(origin=origin) as terminal:
        terminal.type("echo $((6 * 7))\r")
        terminal.until("42\r\n")


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Sec-WebSocket-Version": "8"}, 400), ({"Sec-WebSocket-Key": "short"}, 400),
    ],
)  # fmt: skip
def test_a_handshake_that_is_none_is_refused(
    gateway: Gateway, task: Task, changed: dict[str, str], status: int
) -> None:
    assert gateway.answer(f"/shell/{task.secret}", **(HANDSHAKE | changed))[0] == status
    assert task.received == []


def test_a_browser_that_forgets_the_slash_is_led_to_the_page(gateway: Gateway, task: Task) -> None:
    status, headers, _ = gateway.answer(f"/shell/{task.secret}?v=2")
    assert status == 308
    assert headers["location"].endswith(f"/shell/{task.secret}/?v=2")


def test_the_page_loads_nothing_from_elsewhere(gateway: Gateway, task: Task) -> None:
    status, headers, body = gateway.answer(f"/shell/{task.secret}/?v=2&taskId={task.run.task_id}&runId=0")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"

    loaded = re.findall(r'(?:src|href)="([^"]+)"', body.decode())
    assert len(loaded) == 5
    for address in loaded:
        assert address.startswith("../../assets/")
        status, headers, content = gateway.answer(address.removeprefix("../.."))
        assert status == 200
        assert content
        assert headers["content-type"].startswith("text/javascript" if address.endswith("js") else "text/css")
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["shell.html", "README.md", "..%2f..%2fshell.py", "nothing.js"])
def test_nothing_else_is_an_asset(gateway: Gateway, name: str) -> None:
    assert gateway.answer(f"/assets/{name}")[0] == 404


def test_no_secret_stands_in_the_gateways_log(gateway: Gateway, task: Task) -> None:
    with task.terminal() as terminal:
        terminal.until("$ ")
    assert task.secret not in gateway.stderr


def test_shells_are_counted(gateway: Gateway, task: Task) -> None:
    before = gateway.metric("shells_total")
    with task.terminal() as terminal:
        terminal.until("$ ")
        assert gateway.metric("shells_total") == before + 1
        assert gateway.metric("shells") >= 1
