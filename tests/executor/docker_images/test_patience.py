"""How long, and how often, something is tried again."""

import pytest

from taskward.executor.docker.images.patience import insist


class Trouble:
    """Fails until a moment of its own clock, which only waiting moves on."""

    def __init__(self, until_s: float) -> None:
        self.until_s, self.now_s, self.attempts = until_s, 0.0, 0
        self.pauses: list[float] = []

    def attempt(self) -> str:
        self.attempts += 1
        return "" if self.now_s >= self.until_s else "connection refused"

    def wait(self, reason: str, seconds: float) -> None:
        assert reason == "connection refused"
        self.pauses.append(seconds)
        self.now_s += seconds

    def insist(self, within_s: float) -> str:
        return insist(self.attempt, within_s, self.wait, lambda: self.now_s)


def test_what_works_at_once_is_done_once() -> None:
    trouble = Trouble(until_s=0)
    assert trouble.insist(120) == ""
    assert (trouble.attempts, trouble.pauses) == (1, [])


@pytest.mark.parametrize("away_s", [8, 30, 60, 90])
def test_trouble_of_a_minute_or_more_passes(away_s: float) -> None:
    assert Trouble(away_s).insist(120) == ""


def test_trouble_that_stays_is_given_up_in_time_with_the_number_of_attempts() -> None:
    trouble = Trouble(until_s=1e9)
    assert trouble.insist(120) == f"connection refused ({trouble.attempts} attempts)"
    assert 90 < trouble.now_s <= 120
    assert 7 <= trouble.attempts <= 12


def test_pauses_grow_up_to_a_limit_and_differ_between_two_who_wait() -> None:
    first, second = Trouble(1e9), Trouble(1e9)
    first.insist(1000)
    second.insist(1000)

    assert first.pauses[0] < 1.5 < first.pauses[3] < first.pauses[5]
    assert max(first.pauses) <= 25
    assert first.pauses != second.pauses


def test_without_any_time_there_is_one_attempt() -> None:
    assert Trouble(until_s=1e9).insist(0) == "connection refused (1 attempt)"


def test_what_an_attempt_raises_ends_them() -> None:
    def gone() -> str:
        raise LookupError("no such image")

    with pytest.raises(LookupError):
        insist(gone, 120, Trouble(0).wait)
