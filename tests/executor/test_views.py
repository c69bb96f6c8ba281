"""Views of displays at the executor's socket: what counts as a shell, and who has none to offer."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from executor.terminal import Shell
from taskward.core.shell import Exited, Refused, Show, is_display
from taskward.executor.engine import Identity, Program
from taskward.executor.errors import CommandNotStarted
from taskward.executor.shell.server import ShellServer
from taskward.executor.shell.session import Starter
from taskward.executor.spawn import Child


def no_shell(program: Program, output: int) -> Child:
    raise CommandNotStarted(f"no {program.argv}")


def cat(wish: Show, descriptors: Mapping[int, int], output: int) -> Child:
    program = subprocess.Popen(["cat"], stdin=descriptors[0], stdout=output, start_new_session=True)
    program.returncode = 0  # it is the host's to wait for
    return Child(program.pid)


class Offer:
    """A server of shells; `counts` are what it has told those who attend."""

    def __init__(self, directory: Path, starter: Starter) -> None:
        self.path, self._counts = directory / "s.sock", directory / "counts"
        self._server = ShellServer.start(self.path, starter, self._attend)

    def _attend(self, shells: int) -> None:
        with self._counts.open("a") as stream:
            stream.write(f"{shells}\n")

    @property
    def counts(self) -> list[int]:
        return [int(line) for line in self._counts.read_text().split()]

    def close(self) -> None:
        self._server.stop()


@pytest.fixture
def offer(tmp_path: Path) -> Iterator[Callable[[Starter], Offer]]:
    offers: list[Offer] = []

    def start(starter: Starter) -> Offer:
        offers.append(Offer(tmp_path, starter))
        return offers[-1]

    yield start
    for each in offers:
        each.close()


def starter(directory: Path) -> Starter:
    return Starter(no_shell, Identity("somebody", os.getuid(), os.getgid(), directory), {}, show=cat)


@pytest.mark.parametrize(("display", "counted"), [("", 0), (":0", 1)])
def test_to_look_is_no_reason_to_stay_but_to_watch_is(
    offer: Callable[[Starter], Offer], tmp_path: Path, display: str, counted: int
) -> None:
    offered = offer(starter(tmp_path))
    view = Shell(offered.path, Show(display))
    os.write(view.descriptors[0], b"pixels")
    assert os.read(view.descriptors[1], 100) == b"pixels"
    os.close(view.descriptors.pop(0))

    assert view.told() == Exited(0)
    view.vanish()
    deadline = time.monotonic() + 5
    while len(offered.counts) < 3 or offered.counts[-1]:
        assert time.monotonic() < deadline
    assert max(offered.counts) == counted


def test_a_task_without_a_container_has_no_displays(offer: Callable[[Starter], Offer], tmp_path: Path) -> None:
    without = Starter(no_shell, starter(tmp_path).identity, {})
    view = Shell(offer(without).path, Show(""))

    assert view.answer == Refused("no display can be shown: this worker does not offer it")
    view.vanish()


@pytest.mark.parametrize("name", [":0", ":99.1", ":12345", ":0.12"])
def test_names_of_displays(name: str) -> None:
    assert is_display(name)


@pytest.mark.parametrize(
    "name", ["", ":", "0", ":0.", ":0.123", ":123456", "host:0", ":0 ", "\n:0", ":0\n", ":٣", ":-1"]
)
def test_other_names(name: str) -> None:
    assert not is_display(name)
