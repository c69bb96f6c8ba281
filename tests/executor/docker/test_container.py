"""Ending a container whose daemon answers late or with trouble of its own."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.dockerd import Dockerd, Request
from taskward.core.settings import DockerSettings
from taskward.executor.docker.container import Container
from taskward.executor.docker.daemon import Daemon

NO_EXIT_EVENT = b'{"message": "tried to kill container, but did not receive an exit event"}'


class Dying:
    """A container that is only dead after the second kill; the daemon answers the first one with 500."""

    def __init__(self) -> None:
        self.kills = 0

    def kill(self, request: Request) -> None:
        self.kills += 1
        request.reply(*((NO_EXIT_EVENT, 500) if self.kills == 1 else (b"", 204)))

    def describe(self) -> bytes:
        status = "exited" if self.kills > 1 else "running"
        return json.dumps({"Image": "i", "State": {"Status": status, "ExitCode": 137, "OOMKilled": False}}).encode()


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tw") as directory:
        yield Path(directory) / "docker.sock"


def test_a_kill_that_the_daemon_could_not_confirm_is_repeated(socket: Path) -> None:
    dying = Dying()

    class Answers(Request):
        def do_GET(self) -> None:
            if "/containers/" in self.path:
                self.reply(dying.describe(), 200)
            else:
                super().do_GET()

    with Dockerd(socket, dying.kill, Answers) as dockerd:
        daemon = Daemon(DockerSettings(host=dockerd.url))
        Container(daemon, "run").kill()
        daemon.close()
    assert dying.kills == 2
