"""What a command does when its output cannot be written, or nobody wants its colours; and when it is interrupted."""

import fcntl
import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from .conftest import WriteConfig

TASKWARD = (sys.executable, "-m", "taskward.cli")


def _run(argv: Sequence[str], stdout: int, **variables: str) -> subprocess.CompletedProcess[str]:
    told = {**os.environ, **variables}
    return subprocess.run(argv, env=told, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", [["schema"], ["--help"], ["schema", "--help"], ["status", "--json"], ["metrics"]])
def test_output_that_cannot_be_written_is_one_line(write_config: WriteConfig, command: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = _run([*TASKWARD, *command], full.fileno(), TASKWARD_CONFIG=str(write_config()))
    said = "Error: the output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (74, said)


def test_reader_that_has_gone_is_no_news() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = _run([*TASKWARD, "schema"], writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (74, "")


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_no_fault_and_given_to_no_file(closed: str) -> None:
    argv = ["/bin/sh", "-c", f'"$@" {closed}', "sh", *TASKWARD, "schema"]
    done = _run(argv, subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_standard_input_is_an_empty_one(place: Path) -> None:
    (place / "key").write_text("no key")
    words = ["keys", "encrypt-env", "--name", "A", "--key", str(place / "key")]
    done = _run(["/bin/sh", "-c", '"$@" <&-', "sh", *TASKWARD, *words], subprocess.PIPE)
    assert (done.returncode, "holds 0 OpenPGP keys" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_colours_are_for_terminals_whose_user_wants_them(
    place: Path, variables: dict[str, str], coloured: bool
) -> None:
    file = place / "task.yml"
    file.write_text('{command: [["true"]]}')
    master, terminal = pty.openpty()
    usual = {"TERM": "xterm", "NO_COLOR": ""}
    assert _run([*TASKWARD, "lint", str(file)], terminal, **{**usual, **variables}).returncode == 1
    shown = os.read(master, 1 << 16)
    os.close(master)
    os.close(terminal)
    assert b"maxRunTime" in shown
    assert (b"\x1b[" in shown) is coloured


INTERRUPTING = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == os.environ["INTERRUPTED_BY"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from taskward.cli.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["click", "taskward.cli.group", "taskward.cli.run", "requests", "taskcluster"])
def test_interrupt_of_a_command_that_is_being_loaded_is_130_and_quiet(place: Path, module: str) -> None:
    file = place / "task.yml"
    file.write_text('{command: [["true"]], maxRunTime: 60}')
    argv = [sys.executable, "-c", INTERRUPTING, "run", str(file), "--queue", "p/q"]
    done = _run(argv, subprocess.PIPE, TASKCLUSTER_ROOT_URL="http://127.0.0.1:9", INTERRUPTED_BY=module)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_file_that_cannot_be_written_is_named(write_config: WriteConfig, place: Path) -> None:
    (place / "w/public-keys").mkdir(parents=True)
    (place / "w/public-keys/openpgp.asc").write_text("a key")
    argv = ["keys", "export", "--output", "/dev/full", "--config", str(write_config())]
    done = _run([*TASKWARD, *argv], subprocess.PIPE)
    assert (done.returncode, done.stderr) == (74, "Error: /dev/full: cannot be written: No space left on device\n")


def test_pipe_that_another_made_non_blocking_gets_it_all() -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    with (
        subprocess.Popen([*TASKWARD, "schema"], stdout=writer, stderr=subprocess.PIPE) as process,
        open(reader) as read,
    ):
        os.close(writer)
        assert process.stderr
        json.loads(read.read())
        assert process.stderr.read() == b""
    assert process.returncode == 0
