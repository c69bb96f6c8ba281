import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from taskward.cli.drain import changes, patiently, tell


def test_a_redis_that_died_is_waited_for_while_the_worker_runs(capsys: pytest.CaptureFixture[str]) -> None:
    looks = iter([RedisConnectionError("gone"), FileNotFoundError("no socket"), None])

    def ask() -> int:
        if error := next(looks):
            raise error
        return 3

    assert patiently(ask, lambda: True, pause_s=0) == 3
    assert capsys.readouterr().err.count("Redis does not answer") == 1


@pytest.mark.parametrize(("error", "runs"), [(RedisConnectionError("gone"), False), (PermissionError("no"), True)])
def test_who_is_not_let_in_or_finds_no_worker_hears_so_at_once(error: Exception, runs: bool) -> None:
    def ask() -> int:
        raise error

    with pytest.raises(type(error)):
        patiently(ask, lambda: runs, pause_s=0)


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
