import pytest

from taskward.cli.drain import changes, tell


def test_only_changes_are_told_until_nothing_runs() -> None:
    looks = iter([2, 2, 2, 1, 1, 0])
    assert list(changes(lambda: next(looks), pause_s=0)) == [2, 1, 0]


def test_idle_worker_is_told_once() -> None:
    assert list(changes(lambda: 0, pause_s=0)) == [0]


def test_without_a_terminal_each_change_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    tell([2, 1, 0], at_terminal=False)
    assert capsys.readouterr().err == "2 running\n1 running\n0 running\n"


def test_at_a_terminal_one_line_changes(capsys: pytest.CaptureFixture[str]) -> None:
    tell([2, 0], at_terminal=True)
    assert capsys.readouterr().err == "\r2 running \r0 running \n"
