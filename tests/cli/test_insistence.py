"""Who watches a task is not sent away by a restart of Taskcluster."""

from collections.abc import Callable

import pytest
from taskcluster.exceptions import TaskclusterConnectionError, TaskclusterRestFailure

from taskward.cli.insistence import LONGEST_S, Insistence


class Watcher:
    """Somebody with a clock of their own."""

    def __init__(self) -> None:
        self.now_s, self.told = 0.0, list[str]()

    def ask(self, call: Callable[[], str]) -> str:
        return Insistence(self.told.append, self._pause, lambda: self.now_s).ask(call)

    def _pause(self, seconds: float) -> None:
        self.now_s += seconds


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = iter(range(times))

    def call() -> str:
        if next(left, None) is not None:
            raise error
        return "answer"

    return call


AWAY = TaskclusterConnectionError("away", superExc=None)
SICK = TaskclusterRestFailure("sick", None, 503, {})


@pytest.mark.parametrize("error", [AWAY, SICK])
def test_a_restart_is_outlasted_and_told_once(error: Exception) -> None:
    watcher = Watcher()

    assert watcher.ask(failing(20, error)) == "answer"

    assert watcher.told == ["Taskcluster does not answer; trying again for 5 minutes"]


def test_what_stays_away_is_given_up() -> None:
    watcher = Watcher()

    with pytest.raises(TaskclusterConnectionError):
        watcher.ask(failing(10_000, AWAY))

    assert LONGEST_S < watcher.now_s < LONGEST_S + 10


def test_a_refusal_is_told_at_once() -> None:
    watcher = Watcher()

    with pytest.raises(TaskclusterRestFailure):
        watcher.ask(failing(1, TaskclusterRestFailure("no", None, 404, {})))

    assert (watcher.now_s, watcher.told) == (0.0, [])
