"""Interactive shells through the gateway's real process, with a simulated executor behind it."""

from collections.abc import Iterator

import pytest

from gateway.rig import Gateway
from gateway.shell_rig import Task
from simulators.redis import RedisServer


@pytest.fixture
def task(gateway: Gateway, redis_server: RedisServer) -> Iterator[Task]:
    with Task(gateway, redis_server.client("executor")) as task:
        yield task


def test_what_is_typed_reaches_the_shell_and_its_output_comes_back(task: Task) -> None:
    with task.terminal() as terminal:
        terminal.type("echo $((6 * 7))\r")
        assert b"42\r\n" in terminal.until("42\r\n")
