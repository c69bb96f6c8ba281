"""When a container with shells is held, and when it is let go."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskward.executor.docker.vigil import Patience, Vigil, make_pipe


class Watched:
    """A vigil, with a clock in hand; `is_held` is what the container sees."""

    def __init__(self, path: Path, patience: Patience) -> None:
        make_pipe(path)
        self.now_s = 100.0
        self.vigil = Vigil(path, patience, lambda: self.now_s)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def is_held(self, shells: int, after_s: float = 0.0) -> bool:
        self.now_s += after_s
        self.vigil.look(shells)
        try:
            return os.read(self._reader, 1) != b""
        except BlockingIOError:
            return True

    def close(self) -> None:
        os.close(self._reader)
        self.now_s += 1000
        self.vigil.look(0)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    found = Watched(tmp_path / "pipe", Patience(10, 50, 200))
    yield found
    found.close()


def test_without_shells_it_is_held_for_the_least_time(watched: Watched) -> None:
    assert [watched.is_held(0), watched.is_held(0, 9), watched.is_held(0, 2)] == [True, True, False]


def test_a_shell_holds_it_and_leaves_it_some_time(watched: Watched) -> None:
    assert watched.is_held(1)
    assert watched.is_held(1, 100)
    assert watched.is_held(0, 1)
    assert watched.is_held(0, 49)
    assert not watched.is_held(0, 2)


def test_what_was_let_go_is_held_again_for_a_later_shell(watched: Watched) -> None:
    assert not watched.is_held(0, 11)
    assert watched.is_held(1, 5)


def test_it_is_let_go_before_the_task_is_killed_whoever_looks(watched: Watched) -> None:
    assert watched.is_held(1, 199)
    assert not watched.is_held(1, 2)


def test_it_says_when_to_look_again(watched: Watched) -> None:
    assert watched.vigil.look(0) == 10
    assert watched.vigil.look(2) == 200
    watched.now_s += 20
    assert watched.vigil.look(0) == 50
    watched.now_s += 60
    assert watched.vigil.look(0) is None
