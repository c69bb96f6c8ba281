"""Displays through the gateway's real process, with a simulated executor behind it."""

import contextlib
import json
import posixpath
import re
from collections.abc import Iterator

import pytest
import websocket

from gateway.rig import Gateway, Reader, eventually
from gateway.shell_rig import Task
from simulators.redis import RedisServer
from taskward.core.shell import End, Refused, Show

ADDRESSES = ("interactive", "display", "display.sock", "sockets.json")
IMPORT = re.compile(r"""(?:from|import)\s+["'](\.[^"']+)["']""")


@pytest.fixture
def task(gateway: Gateway, redis_server: RedisServer) -> Iterator[Task]:
    with Task(gateway, redis_server.client("executor")) as task:
        yield task


def test_displays_are_listed_with_their_sizes(gateway: Gateway, task: Task) -> None:
    status, headers, body = gateway.answer(f"/shell/{task.secret}/display.sock")

    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == [{"display": ":7.0", "width": 320, "height": 200}]
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cache-control"] == "no-store"
    assert task.received[0] == Show("")


def test_what_is_no_display_is_left_out_of_the_list(gateway: Gateway, task: Task) -> None:
    task.lists = (
        "printf ':1.0\\t10x20\\n:1.0\\t10x20\\n<script>\\n:2\\t1x1\\n:3.0\\t1x\\nx:4.0\\t1x1\\n"
        ":5.0\\t1x1;\\n\\377\\000\\n:123456.0\\t1x1\\n:6.0 1x1\\n:9.1\\t5x6\\n'; echo ':8.0\t1x1' >&2"
    )
    _, _, body = gateway.answer(f"/shell/{task.secret}/display.sock")

    assert [each["display"] for each in json.loads(body)] == [":1.0", ":9.1"]


def test_a_list_without_end_ends(gateway: Gateway, task: Task) -> None:
    task.lists = "yes ':1.0\t10x20'"
    status, _, body = gateway.answer(f"/shell/{task.secret}/display.sock")

    assert (status, {each["display"] for each in json.loads(body)}) == (200, {":1.0"})  # the last one may be cut
    eventually(lambda: not task.pids)


def test_a_container_that_does_not_answer_keeps_nobody_else_waiting(gateway: Gateway, task: Task) -> None:
    task.lists = "sleep 60"
    with contextlib.ExitStack() as waiting:
        for _ in range(40):
            waiting.enter_context(Reader(gateway.port, f"/shell/{task.secret}/display.sock"))
        eventually(lambda: len(task.received) >= 40)

        assert gateway.answer(f"/shell/{task.secret}/display")[0] == 200


def test_the_bytes_of_a_display_go_both_ways_as_they_are(task: Task) -> None:
    data = bytes(range(256)) * 4000
    with task.display() as display:
        for at in range(0, len(data), 100_000):
            display.socket.send_binary(data[at : at + 100_000])
            while len(display.output) < min(at + 100_000, len(data)):
                assert display.receive()
        assert display.output == data
        assert display.told == []
    assert task.received[0] == Show(":7")


def test_nothing_of_the_query_but_the_display_is_passed_on(task: Task) -> None:
    with task.display("display=:7.0&arg=-rfbport&arg=5900&tty=true&command=sh&session=new") as display:
        display.socket.send_binary(b"x")
        assert display.receive()
    assert task.received[0] == Show(":7.0")


@pytest.mark.parametrize(
    "query", ["", "display=", "display=7", "display=%3A7%3Bid", "display=%3A7+-rfbport+1", "display=-remote",
              "display=%3A7%0A", "display=host%3A0", "display=%3A1234567", "display=%D9%A3"],
)  # fmt: skip
def test_only_names_of_displays_are_asked_for(task: Task, query: str) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        task.display(query)
    assert refused.value.status_code == 400
    assert task.received == []


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_wrong_secret_opens_nothing(gateway: Gateway, address: str) -> None:
    assert gateway.answer(f"/shell/{'A' * 43}/{address}")[0] == 401


def test_a_wrong_secret_shows_no_display(gateway: Gateway, task: Task) -> None:
    task.secret = "A" * 43
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        task.display()
    assert refused.value.status_code == 401


def test_a_display_that_is_closed_closes_the_web_socket(task: Task) -> None:
    task.shows = "printf RFB; exit 1"
    with task.display() as display:
        assert (display.until_closed(), display.reason) == (1000, "exit code 1")
        assert display.output == b"RFB"


def test_a_viewer_that_leaves_ends_what_shows_the_display(task: Task) -> None:
    with task.display() as display:
        display.socket.send_binary(b"x")
        assert display.receive()
    eventually(lambda: not task.pids)
    assert task.received[-1] == End()


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (Refused("no display can be shown: no x11vnc"), 500, 1011),
        (Refused("Too many sessions active!", busy=True), 503, 1013),
    ],
)
def test_why_no_display_can_be_shown_is_told(
    gateway: Gateway, task: Task, refusal: Refused, status: int, code: int
) -> None:
    task.refusal = refusal
    found, _, body = gateway.answer(f"/shell/{task.secret}/display.sock")
    assert (found, json.loads(body)) == (status, {"message": refusal.reason})
    with task.display() as display:
        assert (display.until_closed(), display.reason) == (code, refusal.reason)


def test_a_task_that_is_over_has_no_displays(gateway: Gateway, task: Task) -> None:
    task.end()
    status, _, body = gateway.answer(f"/shell/{task.secret}/display.sock")
    assert (status, json.loads(body)) == (410, {"message": "the task has ended"})


@pytest.mark.parametrize("name", ["display", "interactive"])
def test_the_pages_load_nothing_from_elsewhere(gateway: Gateway, task: Task, name: str) -> None:
    status, headers, body = gateway.answer(f"/shell/{task.secret}/{name}?v=1")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'; script-src 'self';" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"

    wanted = [each.removeprefix("../..") for each in re.findall(r'(?:src|href)="(\.\.[^"]+)"', body.decode())]
    seen: set[str] = set()
    while wanted:
        address = wanted.pop()
        if address not in seen:
            seen.add(address)
            status, headers, content = gateway.answer(address)
            assert (status, bool(content)) == (200, True), address
            parent = posixpath.dirname(address)
            wanted += [posixpath.normpath(f"{parent}/{each}") for each in IMPORT.findall(content.decode())]
    assert len(seen) > 40 if name == "display" else len(seen) == 2


def test_programs_are_told_all_addresses(gateway: Gateway, task: Task) -> None:
    status, headers, body = gateway.answer(f"/shell/{task.secret}/sockets.json")
    found = json.loads(body)

    assert (status, headers["content-type"]) == (200, "application/json")
    assert found.pop("version") == 2
    base = f"//127.0.0.1:0/shell/{task.secret}"  # this gateway was told port 0
    assert found == {
        "shellSocketUrl": f"ws:{base}",
        "displaysUrl": f"http:{base}/display.sock",
        "displaySocketUrl": f"ws:{base}/display.sock",
    }


def test_views_are_counted(gateway: Gateway, task: Task) -> None:
    before, shells = gateway.metric("displays_total"), gateway.metric("shells_total")
    with task.display() as display:
        display.socket.send_binary(b"x")
        assert display.receive()
        assert gateway.metric("displays_total") == before + 1
    assert gateway.metric("shells_total") == shells
