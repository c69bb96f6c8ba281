"""A service that says when it wants to be asked again is asked then, within reason."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators import listener
from taskward.core.errors import Unreachable
from taskward.core.retries import LONGEST_WISH_S, retried, wait_after, wished_s
from taskward.core.taskcluster import Taskcluster

NOW = datetime(2026, 5, 3, 12, 0, tzinfo=UTC)


class Pauses(threading.Event):
    """Notes how long somebody would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.noted_s: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.noted_s.append(timeout or 0.0)
        return False


@dataclass
class BusyQueue:
    """Answers with these statuses first, and with this field."""

    statuses: list[int] = field(default_factory=list)
    retry_after: str = ""
    port: int = 0


class _Request(listener.Request):
    queue: BusyQueue

    def do_GET(self) -> None:
        status = self.queue.statuses.pop(0) if self.queue.statuses else 200
        self.reply(b"{}", status, Retry_After=self.queue.retry_after)


@pytest.fixture(scope="module")
def queue() -> Iterator[BusyQueue]:
    queue = BusyQueue()
    with listener.Listener(_Request, queue=queue) as listening:
        queue.port = listening.port
        yield queue


def pauses_of(queue: BusyQueue, statuses: list[int], retry_after: str, give_up_after_s: float = 300) -> list[float]:
    queue.statuses, queue.retry_after = statuses, retry_after
    pauses = Pauses()
    client = Taskcluster(f"http://127.0.0.1:{queue.port}", give_up_after_s=give_up_after_s, stop=pauses)
    assert client.call("GET", "queue", "ping") == {}
    return pauses.noted_s


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_left_alone_for_as_long_as_it_asks(queue: BusyQueue, status: int) -> None:
    assert 7 < pauses_of(queue, [status], "7")[0] < 8


def test_a_date_is_waited_for(queue: BusyQueue) -> None:
    then = datetime.now(UTC) + timedelta(seconds=30)
    assert 28 < pauses_of(queue, [503], then.strftime("%a, %d %b %Y %H:%M:%S GMT"))[0] < 31


def test_nobody_waits_for_an_hour(queue: BusyQueue) -> None:
    assert LONGEST_WISH_S < pauses_of(queue, [503], "3600")[0] < LONGEST_WISH_S + 1


def test_the_callers_own_deadline_comes_first(queue: BusyQueue) -> None:
    assert 4 < pauses_of(queue, [503], "50", give_up_after_s=5)[0] <= 5


@pytest.mark.parametrize("retry_after", ["", "soon", "-5", "1.5", "Sun, 03 May 1987 12:00:00 GMT"])
def test_what_is_no_time_to_come_changes_nothing(queue: BusyQueue, retry_after: str) -> None:
    assert pauses_of(queue, [503], retry_after)[0] < 1


def test_other_trouble_has_no_wishes(queue: BusyQueue) -> None:
    assert pauses_of(queue, [500], "30")[0] < 1


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("0", 0), ("7", 7), ("60", 60), ("61", 60), ("9" * 400, 60), ("Sun, 03 May 2026 12:00:20 GMT", 20),
     ("Sun, 03 May 2026 11:00:00 GMT", 0), ("Sun, 03 May 2099 12:00:00 GMT", 60)],
)  # fmt: skip
def test_a_wish_is_seconds_or_a_date(retry_after: str, seconds: float) -> None:
    assert wished_s(retry_after, NOW) == seconds


@given(st.text())
def test_no_field_is_an_error(retry_after: str) -> None:
    assert 0 <= wished_s(retry_after, NOW) <= LONGEST_WISH_S


def test_those_who_were_sent_away_together_do_not_come_back_together() -> None:
    busy = Unreachable("busy", 503, retry_after_s=10)
    assert len({wait_after(busy, pause_s=1, left_s=100) for _ in range(10)}) > 1


def test_a_call_that_has_waited_to_its_deadline_is_tried_once_more_and_not_again() -> None:
    tries: list[float] = []

    def attempt() -> None:
        tries.append(time.monotonic())
        raise Unreachable("busy", 503, retry_after_s=60)

    with pytest.raises(Unreachable):
        retried(attempt, time.monotonic() + 0.5, threading.Event())
    assert len(tries) == 2
