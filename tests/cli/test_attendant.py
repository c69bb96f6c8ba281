"""Our part of supervisord, in a real one: what it counts, and that nothing there can end the supervisor."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.patience import until
from taskward.cli.restarts import FILE, read
from taskward.cli.supervision import GIVEN_UP
from taskward.cli.supervisor import Supervisor, SupervisorAway, SupervisorRefused

PROGRAM = """
[program:{name}]
command = {command}
startsecs = 0
startretries = 0
exitcodes = 64,78
autostart = true
autorestart = {again}
"""
CONFIGURATION = """
[unix_http_server]
file = {home}/supervisor.sock
[supervisord]
logfile = {home}/supervisord.log
pidfile = {home}/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[rpcinterface:taskward]
supervisor.rpcinterface_factory = taskward.cli.attendant:attend
directory = {home}
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tw") as directory:
        yield Path(directory)


class Supervised:
    """A supervisord with one program that stays, one that cannot be started, and one that needs a person."""

    def __init__(self, home: Path) -> None:
        self.home = home
        programs = [PROGRAM.format(name="steady", command="sleep 600", again="true")]
        programs.append(PROGRAM.format(name="broken", command=f"{home}/absent", again="false"))
        programs.append(PROGRAM.format(name="hopeless", command="sh -c 'exit 78'", again="unexpected"))
        (home / "supervisord.conf").write_text(CONFIGURATION.format(home=home) + "".join(programs))
        argv = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(home / "supervisord.conf")]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client = Supervisor(home / "supervisor.sock")

    def pid(self, name: str) -> int:
        """Of a program that runs; 0 else."""
        return next((each.pid for each in self.client.processes() if each.name == name), 0)

    def log(self) -> str:
        path = self.home / "supervisord.log"
        return path.read_text() if path.exists() else ""

    def starts(self) -> dict[str, int]:
        return dict(read(self.home / FILE).get("starts", {}))

    def kill(self) -> None:
        """The program that stays; then it runs again."""
        pid = self.pid("steady")
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.pid("steady") not in (0, pid), "it runs again")


@pytest.fixture
def supervised(home: Path) -> Iterator[Supervised]:
    made = Supervised(home)
    try:
        until(lambda: made.client.answers() and made.pid("steady"), "supervisord runs")
        yield made
    finally:
        made.process.terminate()
        made.process.wait(30)


def test_restarts_are_counted(supervised: Supervised) -> None:
    supervised.kill()
    assert supervised.starts()["steady:steady"] == 2


def test_what_was_given_up_is_started_again(supervised: Supervised) -> None:
    assert "broken:broken failed to start again and again; the next attempt is in 5 s" in supervised.log()
    (supervised.home / "absent").write_text("#!/bin/sh\nexec sleep 600\n")
    (supervised.home / "absent").chmod(0o755)
    until(lambda: supervised.pid("broken"), "it is started again", within_s=30)


def test_a_file_that_cannot_be_written_ends_nothing(supervised: Supervised) -> None:
    (supervised.home / "restarts.new").mkdir()
    supervised.kill()
    assert "a start of steady:steady is not counted" in supervised.log()
    assert supervised.process.poll() is None


def test_a_full_disk_under_standard_error_ends_nothing() -> None:
    program = (
        "import sys; from taskward.cli.attendant import Patient; sys.stderr = Patient(sys.stderr)\n"
        "print('what went wrong', file=sys.stderr); print('goes on')"
    )
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, check=False)
    assert done.stdout == b"goes on\n"


def test_nothing_of_it_can_be_called(supervised: Supervised) -> None:
    for method in ("_tick", "_starting", "attend"):
        with pytest.raises(SupervisorRefused):
            supervised.client._call(lambda rpc, method=method: getattr(rpc.taskward, method)({}))  # type: ignore[misc]


def test_a_program_that_needs_a_person_is_not_started_again_at_once(supervised: Supervised) -> None:
    until(lambda: "hopeless:hopeless failed to start again and again" in supervised.log(), "it is given up")
    assert supervised.starts()["hopeless:hopeless"] == 1
    states = {each.name: each.state for each in supervised.client.processes()}
    assert states["hopeless"] in GIVEN_UP


def test_a_supervisor_that_ends_is_as_good_as_gone(supervised: Supervised) -> None:
    supervised.client.shutdown()
    with pytest.raises(SupervisorAway):
        supervised.client.processes()
