"""Shells in a container: confined as it is, sized as the user's window, gone when they are not wanted."""

import contextlib
import fcntl
import os
import struct
import termios
import time
from collections.abc import Iterator

import pytest

from executor.bench import JobProcess
from executor.docker.yard import Yard, task_output
from executor.terminal import INTERACTIVE, Shell
from taskward.core.shell import TASK_ENDED, Attach, Ended, Exited, Open, Refused
from taskward.executor.docker.engine import DockerEngine
from taskward.executor.docker.features.interactive import SHELL
from taskward.executor.processes import descendants

pytestmark = pytest.mark.root


class Holding:
    """A container that runs until it is told to end."""

    def __init__(self, yard: Yard) -> None:
        self.yard, self.bench = yard, yard.bench
        features = {"interactive": True}
        self.run = yard.claim(
            "echo holding; while [ ! -e /end ]; do sleep 0.05; done", features=features, env={"COLOR": "blue"}
        )
        self.job: JobProcess = self.bench.start(self.run)
        self.bench.wait_for_line(self.run, "holding")
        self.shells: list[Shell] = []
        self._at_rest = len(descendants(self.job.pid))

    def is_at_rest(self) -> bool:
        """Whether the worker has taken leave of every shell, too, which it does a little after the container."""
        return len(self.processes()) <= len(("the task's shell", "sleep")) and (
            len(descendants(self.job.pid)) <= self._at_rest
        )

    def shell(self, wish: Open | Attach = INTERACTIVE) -> Shell:
        self.shells.append(Shell(self.bench.layout.shell_socket(self.run), wish))
        return self.shells[-1]

    def pipes(self, *argv: str) -> Shell:
        return self.shell(Open(argv, terminal=False, resume_s=0.0))

    def processes(self) -> dict[int, str]:
        """Command lines in the container, by process."""
        (container,) = [each for each in self.yard.containers() if each["State"] == "running"]
        rows = self.yard.daemon.top(container["Id"], ps_args="-o pid,args")["Processes"]
        return {int(pid): command for pid, command in rows}

    def leave(self) -> None:
        for shell in self.shells:
            shell.vanish()

    def end(self) -> None:
        self.pipes("touch", "/end")
        assert self.job.wait() == 0
        self.leave()


@pytest.fixture(scope="module", autouse=True)
def shells(yard: Yard) -> None:
    yard.bench.layout.shells.mkdir(parents=True, mode=0o750, exist_ok=True)


@pytest.fixture(scope="module")
def task(yard: Yard) -> Iterator[Holding]:
    yard.use(docker={"interactive_min_s": 0, "interactive_linger_s": 0})
    holding = Holding(yard)
    yield holding
    if yard.bench.is_alive(holding.job.pid):
        holding.end()


@pytest.fixture
def held(task: Holding) -> Iterator[Holding]:
    """One for many tests, each with shells of its own."""
    yield task
    for shell in task.shells:
        with contextlib.suppress(BrokenPipeError):  # refused, or it has ended
            shell.end()
        shell.vanish()
    task.shells.clear()
    task.bench.wait_until(task.is_at_rest)


def read_all(fd: int) -> bytes:
    found = b""
    while data := os.read(fd, 65536):
        found += data
    return found


def test_a_shell_is_in_the_container_with_its_variables_and_confined_as_it_is(held: Holding) -> None:
    shell = held.shell()
    shell.type("echo $COLOR $TERM $TASK_ID; ls -d /home/someone; grep NoNewPrivs /proc/self/status; echo fin''ished\r")

    said = shell.read_until("finished")
    assert f"blue xterm-256color {held.run.task_id}\r\n" in said
    assert "\r\n/home/someone\r\n" in said
    assert "NoNewPrivs:\t1" in said


def test_what_is_typed_is_echoed_once_and_the_exit_code_is_told(held: Holding) -> None:
    shell = held.shell()
    shell.read_until("# ")
    shell.type("echo sentinel\r")
    shell.type("echo fin''ished; exit 7\r")

    assert shell.read_until("\r\nfinished").count("sentinel") == 2
    assert shell.told() == Exited(7)


def test_the_terminal_is_as_large_as_the_window(held: Holding) -> None:
    shell = held.shell()
    shell.type("stty size; echo fir''st\r")
    assert "\r\n24 80\r\n" in shell.read_until("first")

    fcntl.ioctl(shell.descriptors[0], termios.TIOCSWINSZ, struct.pack("HHHH", 51, 111, 0, 0))
    shell.type("while [ \"$(stty size)\" != '51 111' ]; do sleep 0.05; done; echo res''ized\r")

    assert shell.read_until("resized")


def test_keys_that_docker_would_take_for_itself_reach_the_shell(held: Holding) -> None:
    shell = held.shell(Open(("sh", "-c", "stty raw; echo ready; head -c 4 | sha256sum"), True, 0.0))
    shell.read_until("ready")
    shell.type("\x10\x11\x10\x11")

    assert shell.read_until("  -")
    assert shell.told() == Exited(0)


def test_pipes_keep_output_and_errors_apart_to_the_last_byte(held: Holding) -> None:
    shell = held.pipes("sh", "-c", "cat; echo wrong >&2; exit 5")
    data = os.urandom(300_000)
    stdin, stdout, stderr = shell.descriptors
    pid = os.fork()
    if pid == 0:
        while data:
            data = data[os.write(stdin, data) :]
        os._exit(0)
    os.close(stdin)
    shell.descriptors = [stdout, stderr]

    assert read_all(stdout) == data
    assert read_all(stderr) == b"wrong\n"
    assert shell.told() == Exited(5)
    assert os.waitpid(pid, 0)[1] == 0


def test_output_that_comes_at_once_is_not_lost(held: Holding) -> None:
    for _ in range(5):
        shell = held.pipes("echo", "at once")
        assert read_all(shell.descriptors[1]) == b"at once\n"
        assert shell.told() == Exited(0)


def test_a_program_that_is_not_there_is_told(held: Holding) -> None:
    shell = held.pipes("no-such-program")

    said = read_all(shell.descriptors[1]) + read_all(shell.descriptors[2])
    assert b"no-such-program" in said
    assert shell.told() in (Exited(126), Exited(127))


def test_a_shell_that_is_not_wanted_any_more_ends_even_if_it_does_not_care(held: Holding) -> None:
    shell = held.shell(
        Open(("sh", "-c", "trap '' HUP TERM; echo ready; while :; do sleep 0.1; done # 4711"), True, 0.0)
    )
    shell.read_until("ready")
    assert any("4711" in command for command in held.processes().values())

    shell.end()

    held.shells.remove(shell)
    held.bench.wait_until(lambda: not any("4711" in command for command in held.processes().values()))


def test_a_shell_outlives_a_gateway_that_is_killed(held: Holding) -> None:
    first = held.shell()
    first.type("kept=here; echo rea''dy\r")
    first.read_until("ready")
    session = first.session
    first.vanish()
    held.shells.remove(first)

    second = held.shell(Attach(session))
    second.type("echo still $kept\r")

    assert second.read_until("still here")


def test_there_are_at_most_ten_shells(held: Holding) -> None:
    shells = [held.pipes("cat") for _ in range(10)]
    eleventh = held.pipes("cat")

    assert isinstance(eleventh.answer, Refused)
    assert eleventh.answer.busy
    assert all(shell.session for shell in shells)


def test_bridges_do_not_hold_one_anothers_pipes(held: Holding) -> None:
    first = held.pipes("cat")
    second = held.pipes("cat")
    os.close(first.descriptors.pop(0))

    assert first.told() == Exited(0)
    assert second.session


def test_the_page_is_where_docker_workers_was(held: Holding) -> None:
    record = held.bench.records.read(held.run)
    assert record is not None
    (reference,) = [each for each in record.references if each.name == SHELL]
    assert "/shell/" in reference.url


def test_shells_end_with_the_container_and_change_nothing_of_how_it_ends(task: Holding) -> None:
    shell = task.shell()
    shell.type("sleep 4712 & echo rea''dy\r")
    shell.read_until("ready")
    processes = task.processes()

    task.pipes("touch", "/end")

    assert task.job.wait() == 0
    assert shell.told() == Ended(TASK_ENDED)
    result = task.bench.result(task.run)
    assert result.outcome.succeeded
    assert any("4712" in command for command in processes.values())
    assert not any(task.bench.is_alive(pid) for pid in processes)
    assert task.yard.left_over(task.run) == []
    task.leave()


def test_a_shell_waits_for_the_container(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    start, gate = DockerEngine.start, yard.bench.state_dir / "gate"

    def later(self: DockerEngine, *arguments: object) -> object:
        yard.bench.wait_until(gate.exists)
        return start(self, *arguments)  # type: ignore[arg-type]  # whatever it was called with

    monkeypatch.setattr(DockerEngine, "start", later)
    run = yard.claim("while [ ! -e /end ]; do sleep 0.05; done", features={"interactive": True})
    job = yard.bench.start(run)
    path = yard.bench.layout.shell_socket(run)
    yard.bench.wait_until(path.exists)
    shell = Shell(path, Open(("touch", "/end"), terminal=False, resume_s=0.0))
    gate.touch()

    assert job.wait() == 0
    shell.vanish()
    assert yard.bench.result(run).outcome.succeeded


def test_a_container_stays_for_its_shells_and_keeps_its_exit_code(yard: Yard) -> None:
    yard.use(docker={"interactive_min_s": 4, "interactive_linger_s": 1})
    run = yard.claim("echo holding; exit 5", features={"interactive": True})
    job = yard.bench.start(run)
    yard.bench.wait_for_line(run, "holding")
    shell = Shell(yard.bench.layout.shell_socket(run), Open(("sleep", "4"), terminal=False, resume_s=0.0))
    began = time.monotonic()

    assert shell.told() == Exited(0)
    assert job.wait() == 0

    assert 4.8 < time.monotonic() - began < 15
    result = yard.bench.result(run)
    assert (result.outcome.state, result.outcome.message) == ("failed", "exit code 5")
    assert "features.interactive: the container stays at least 4 seconds" in result.log
    shell.vanish()


def test_a_container_that_nobody_looks_at_stays_no_longer_than_the_task_may_run(yard: Yard) -> None:
    yard.use(docker={"interactive_min_s": 100})
    result = yard.run("echo done", features={"interactive": True}, maxRunTime=4)

    assert result.outcome.succeeded, result.log


def test_an_images_own_entrypoint_and_command_stay(yard: Yard) -> None:
    yard.use(docker={"interactive_min_s": 0, "interactive_linger_s": 1})
    changes = ['ENTRYPOINT ["echo","entry"]', 'CMD ["own command"]', "USER someone"]
    source = yard.daemon.create_container(yard.image, ["true"])["Id"]
    image = yard.daemon.commit(source, repository="taskward-test/entry", changes=changes)["Id"]
    yard.daemon.remove_container(source)
    try:
        payload = {**yard.payload([], features={"interactive": True}), "image": "taskward-test/entry"}
        own = yard.bench.run_payload({name: value for name, value in payload.items() if name != "command"})
        given = yard.bench.run_payload({**payload, "command": ["given"]})
    finally:
        yard.daemon.remove_image(image, force=True)

    assert task_output(own) == ["entry own command"]
    assert task_output(given) == ["entry given"]
