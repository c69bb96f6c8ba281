"""The contract of `executor.engine`, over every engine."""

import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import socket

import pytest

from executor.bench import settings
from simulators.docker import busybox_image, connect
from taskward.core.ids import RunId
from taskward.core.layout import Layout
from taskward.core.settings import ExecutorSettings
from taskward.executor.docker.engine import DockerEngine
from taskward.executor.docker.sweep import Containers
from taskward.executor.engine import Ended, Engine, Process, Program
from taskward.executor.errors import CommandNotStarted, EngineFailed
from taskward.executor.native import NativeEngine
from taskward.executor.processes import reap_orphans
from taskward.executor.scripted import Part, ScriptedEngine

RUN = RunId("AAAAAAAAQAaAAAAAAAAAAA", 0)
SCRIPT = {"true": Part(), "false": Part(exit_code=1), "echo": Part("hello\n"), "sleep": Part(endless=True)}
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def make_native(state_dir: Path) -> NativeEngine:
    return NativeEngine(RUN, Layout(state_dir), ExecutorSettings())


def make_scripted(state_dir: Path) -> Engine:
    return ScriptedEngine(Layout(state_dir).task_directory(RUN), SCRIPT)


def make_docker(state_dir: Path) -> Engine:
    engine = DockerEngine(RUN, settings(state_dir, {"docker": {"enabled": True}}))
    with connect() as client:
        engine.outfit.image = busybox_image(client)
    return engine


@pytest.fixture(params=[make_native, make_scripted, pytest.param(make_docker, marks=pytest.mark.root)])
def make(request: pytest.FixtureRequest, state_dir: Path) -> Iterator[Callable[[], Engine]]:
    yield lambda: request.param(state_dir)
    if request.param is make_docker:
        Containers(settings(state_dir, {"docker": {"enabled": True}})).close()  # its networks


@pytest.fixture
def engine(make: Callable[[], Engine]) -> Iterator[Engine]:
    engine = make()
    engine.prepare()
    yield engine
    engine.kill()
    engine.remove()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[int]:
    with (tmp_path / "log").open("a+b", buffering=0) as stream:
        yield stream.fileno()


def wait(process: Process) -> Ended:
    assert select.select([process.fileno()], [], [], 10)[0]
    ended = process.ended()
    assert ended is not None
    return ended


@pytest.mark.parametrize(("name", "code"), [("true", 0), ("false", 1)])
def test_a_program_ends_with_its_exit_code(engine: Engine, log: int, name: str, code: int) -> None:
    process = engine.start(Program((name,), ENVIRONMENT), log)

    assert wait(process).exit_code == code
    assert process.ended() == process.ended()


def test_output_goes_to_the_log(engine: Engine, log: int) -> None:
    wait(engine.start(Program(("echo", "hello"), ENVIRONMENT), log))

    assert os.pread(log, 100, 0).replace(b"\r\n", b"\n") == b"hello\n"


def test_a_missing_program_is_told(engine: Engine, log: int) -> None:
    with pytest.raises(CommandNotStarted, match=r"No such file|not found"):
        engine.start(Program(("no-such-program",), ENVIRONMENT), log)


def test_a_running_program_has_not_ended_until_it_is_killed(engine: Engine, log: int) -> None:
    process = engine.start(Program(("sleep", "1000"), ENVIRONMENT), log)
    assert process.ended() is None
    assert not select.select([process.fileno()], [], [], 0)[0]

    engine.kill()

    assert (wait(process).exit_code, wait(process).signal) == (-1, 9)


def test_kill_and_remove_may_come_twice_and_from_elsewhere(make: Callable[[], Engine]) -> None:
    first = make()
    first.prepare()
    home = first.identity.home
    assert home.is_dir()

    for engine in (first, make(), make()):
        engine.kill()
        engine.remove()

    assert not home.exists()


def test_remove_takes_everything_however_it_is_named(engine: Engine) -> None:
    home = engine.identity.home
    (home / "link").symlink_to("/etc")
    (home / "d").mkdir(mode=0)
    engine.kill()
    engine.remove()

    assert not home.exists()
    assert Path("/etc/passwd").exists()


def test_a_second_run_in_the_same_place_is_refused(engine: Engine, make: Callable[[], Engine]) -> None:
    with pytest.raises(EngineFailed, match="cannot prepare the task's directory"):
        make().prepare()


def test_a_function_runs_with_the_tasks_rights(engine: Engine) -> None:
    def answer(connection: socket) -> None:
        connection.send(f"{os.getresuid()} {os.getresgid()} {os.getgroups()}".encode())

    identity = engine.identity
    with engine.as_task(answer) as connection:
        uids, gids = str((identity.uid,) * 3), str((identity.gid,) * 3)
        assert connection.recv(1000).decode().startswith(f"{uids} {gids} ")


def test_closing_the_socket_ends_the_process_at_the_other_end(engine: Engine) -> None:
    def answer(connection: socket) -> None:
        connection.send(str(os.getpid()).encode())
        connection.recv(1)

    with engine.as_task(answer) as connection:
        pid = int(connection.recv(100))

    assert os.waitpid(pid, 0) == (pid, 0)


def test_how_a_program_ended_is_known_when_it_dies_while_others_are_reaped(state_dir: Path, log: int) -> None:
    engine = make_native(state_dir)
    engine.prepare()
    crowd = [engine.start(Program(("sleep", "1000"), ENVIRONMENT), log) for _ in range(60)]

    engine.kill()

    assert {wait(process).signal for process in crowd} == {9}
    engine.remove()


def test_an_awaited_zombie_is_left_to_who_waits_for_it(log: int, state_dir: Path) -> None:
    engine = make_native(state_dir)
    engine.prepare()
    process = engine.start(Program(("false",), ENVIRONMENT), log)
    assert select.select([process.fileno()], [], [], 10)[0]

    reap_orphans({process.pid: process.ended})

    assert wait(process).exit_code == 1
    engine.kill()
    engine.remove()
