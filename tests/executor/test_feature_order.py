"""How features are started and stopped, with features of the test's own on a scripted engine."""

import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from executor.bench import Bench, Result
from taskward.core.ids import RunId
from taskward.core.outcome import failed
from taskward.core.settings import Settings
from taskward.executor import features
from taskward.executor.engine import Engine
from taskward.executor.errors import EngineExhausted, EngineFailed, TaskEnded
from taskward.executor.features.feature import Feature
from taskward.executor.scripted import Part, ScriptedEngine


class Noted(Feature):
    """Writes what happens to it into the log."""

    def start(self) -> None:
        self.task.log.info(f"start {self.name}")

    def stop(self) -> None:
        self.task.log.info(f"stop {self.name}")


class First(Noted):
    name = "first"


class Second(Noted):
    name = "second"
    wanted: ClassVar[Sequence[str]] = ()
    names: ClassVar[Sequence[str]] = ()
    on_start: ClassVar[Exception | None] = None
    on_stop: ClassVar[Exception | None] = None

    def scopes(self) -> Sequence[str]:
        return self.wanted

    def reserved(self) -> Sequence[str]:
        return self.names

    def start(self) -> None:
        super().start()
        if self.on_start:
            raise self.on_start

    def stop(self) -> None:
        super().stop()
        if self.on_stop:
            raise self.on_stop


class Third(Noted):
    name = "third"


@pytest.fixture
def run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(features, "ORDER", (features.BackingLog, First, Second, Third))
    for attribute, value in (("wanted", ()), ("names", ()), ("on_start", None), ("on_stop", None)):
        monkeypatch.setattr(Second, attribute, value)

    def scripted(run: RunId, settings: Settings) -> Engine:
        return ScriptedEngine(settings.layout.task_directory(run), {"work": Part("work\n"), "fail": Part(exit_code=3)})

    def go(program: str = "work", **task: object) -> Result:
        return bench.run_payload({"command": [[program]], "maxRunTime": 9}, scripted, **task)

    return go


def steps(result: Result) -> list[str]:
    lines = [line.rpartition("] ")[2] for line in result.log.splitlines()]
    return [line for line in lines if line.split(" ")[0] in ("start", "stop", "work")]


ALL = ["start first", "start second", "start third", "work", "stop third", "stop second", "stop first"]


def test_features_start_in_order_and_stop_in_reverse(run: Callable[..., Result]) -> None:
    assert steps(run()) == ALL


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TaskEnded(failed("no")), "failed"),
        (EngineFailed("no"), "internal-error"),
        (EngineExhausted("no processes"), "intermittent-task"),
        (OSError(errno.EAGAIN, "no processes"), "intermittent-task"),
        (OSError(errno.ENOSPC, "No space left on device"), "intermittent-task"),
        (OSError(errno.EIO, "Input/output error"), "internal-error"),
        (RuntimeError("no"), "internal-error"),
    ],
)
def test_what_fails_to_start_ends_the_run_and_stops_what_was_started(
    run: Callable[..., Result], error: Exception, reason: str
) -> None:
    Second.on_start = error

    result = run()

    assert steps(result) == ["start first", "start second", "stop second", "stop first"]
    assert result.outcome.reason == reason


def test_an_error_in_stopping_stops_no_other_and_decides(run: Callable[..., Result]) -> None:
    Second.on_stop = TaskEnded(failed("could not stop"))

    result = run()

    assert steps(result) == ALL
    assert result.outcome.message == "could not stop"
    assert result.log.endswith("[taskcluster:error] could not stop\n")


def test_the_first_error_decides(run: Callable[..., Result]) -> None:
    Second.on_stop = EngineFailed("later")

    assert run("fail").outcome.message == "exit status 3"


def test_missing_scopes_are_told_with_what_is_there(run: Callable[..., Result]) -> None:
    Second.wanted = ("a:b", "c:d")

    result = run(scopes=["a:*", "x"])

    assert result.outcome.reason == "malformed-payload"
    text = "\n".join(line.removeprefix("[taskcluster:error] ") for line in result.log.splitlines())
    assert 'Feature "second" requires scopes:\n\n  a:b\n  c:d\n\nbut task only has scopes:\n\n  a:*\n  x\n\n' in text
    assert "You probably should add some scopes to your task definition." in text
    assert steps(result) == ["start first", "stop first"]


def test_scopes_that_satisfy_are_enough(run: Callable[..., Result]) -> None:
    Second.wanted = ("a:b", "c:d")

    assert run(scopes=["a:*", "c:d"]).outcome.succeeded


def test_a_reserved_name_belongs_to_one_feature(run: Callable[..., Result]) -> None:
    Second.names = ("public/logs/live_backing.log",)

    result = run()

    assert result.outcome.reason == "malformed-payload"
    assert "but feature Backing Log has already reserved this artifact name" in result.log


def test_processes_that_cannot_be_killed_leave_nothing_to_trust(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def resist(_engine: ScriptedEngine) -> None:
        raise EngineFailed("processes cannot be killed")

    monkeypatch.setattr(ScriptedEngine, "kill", resist)
    monkeypatch.setattr(Third, "publishes", True)

    result = run()

    assert result.outcome.reason == "internal-error"
    assert "stop third" not in steps(result)
    assert "stop first" in steps(result)
