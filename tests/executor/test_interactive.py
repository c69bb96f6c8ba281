"""Interactive shells as the executor offers them: who they are, where they run, when they end."""

from collections.abc import Iterator

import pytest

from executor.bench import Bench, JobProcess
from executor.terminal import INTERACTIVE, Shell
from taskward.core.shell import Attach, Open

HOLD = [["bash", "-c", "echo holding; while [ ! -e end ]; do sleep 0.05; done"]]


class Holding:
    """A task that runs until it is told to end, and offers shells."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.run = bench.claim(
            {"command": HOLD, "maxRunTime": 60, "features": {"interactive": True}, "env": {"COLOR": "blue"}}
        )
        self.job: JobProcess = bench.start(self.run)
        self.socket = bench.layout.shell_socket(self.run)
        bench.wait_for_line(self.run, "holding")

        self._shells: list[Shell] = []

    def shell(self, wish: Open | Attach = INTERACTIVE) -> Shell:
        self._shells.append(Shell(self.socket, wish))
        return self._shells[-1]

    def leave(self) -> None:
        for shell in self._shells:
            shell.vanish()
        if self.bench.is_alive(self.job.pid):
            self.end()
            self.job.wait()

    def end(self) -> None:
        (self.bench.layout.task_directory(self.run) / "end").touch()


@pytest.fixture
def holding(bench: Bench) -> Iterator[Holding]:
    bench.layout.shells.mkdir(parents=True)
    task = Holding(bench)
    yield task
    task.leave()


def test_a_shell_is_the_tasks_own_user_in_its_directory_with_its_variables(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("echo $USER@$PWD $COLOR $TERM $TASK_ID; id -u; echo fin''ished\r")

    said = shell.read_until("finished")
    directory = holding.bench.layout.task_directory(holding.run)
    assert f"@{directory} blue xterm-256color {holding.run.task_id}" in said
    assert f"\r\n{directory.stat().st_uid}\r\n" in said
