"""A task that waits with its shells until it is told to end."""

from collections.abc import Mapping

from executor.bench import Bench, JobProcess
from executor.terminal import INTERACTIVE, Shell
from taskward.core.shell import Attach, Open

HOLD = [["/bin/bash", "-c", "echo holding; while [ ! -e end ]; do sleep 0.05; done"]]
ARTIFACT = "private/generic-worker/shell.html"


class Holding:
    """A task that runs until it is told to end, and offers shells."""

    def __init__(self, bench: Bench, env: Mapping[str, str] | None = None) -> None:
        self.bench = bench
        self.run = bench.claim(
            {
                "command": HOLD,
                "maxRunTime": 60,
                "features": {"interactive": True},
                "env": {"COLOR": "blue", **(env or {})},
            }
        )
        self.job: JobProcess = bench.start(self.run)
        self.socket = bench.layout.shell_socket(self.run)
        self._shells: list[Shell] = []
        bench.wait_for_line(self.run, "holding")

    @property
    def uid(self) -> int:
        return self.bench.layout.task_directory(self.run).stat().st_uid

    def shell(self, wish: Open | Attach = INTERACTIVE) -> Shell:
        self._shells.append(Shell(self.socket, wish))
        return self._shells[-1]

    def reference(self) -> tuple[str, str]:
        """Name and address of what leads to the shell."""
        record = self.bench.records.read(self.run)
        assert record is not None
        found = next(each for each in record.references if each.name == ARTIFACT)
        return found.content_type, found.url

    def end(self) -> None:
        (self.bench.layout.task_directory(self.run) / "end").touch()

    def leave(self) -> None:
        for shell in self._shells:
            shell.vanish()
        if self.bench.is_alive(self.job.pid):
            self.end()
            self.job.wait()


def gone(pid: int) -> bool:
    return not Bench.is_alive(pid)


def pid_of(shell: Shell) -> int:
    """The shell's own number, as it tells."""
    shell.type("echo p''id=$$ e''nd\r")
    said = shell.read_until(" end\r\n")
    return int(said.split("pid=")[-1].split(" ")[0])
