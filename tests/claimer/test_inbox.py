"""Runs that want the claimer's attention: none is forgotten, and no two threads do the same for one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from claimer.conftest import Rig
from simulators import service
from taskward.claimer.inbox import Inbox
from taskward.claimer.resolve import Resolver
from taskward.core import keys
from taskward.core.ids import RunId
from taskward.core.outcome import COMPLETED
from taskward.core.taskcluster import Taskcluster

WITHIN_S = 10.0


@dataclass(frozen=True)
class SlowResolver(Resolver):
    """Attends for as long as it is told to."""

    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    may_end: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    hands: list[RunId] = field(default_factory=list)
    most_hands: list[int] = field(default_factory=lambda: [0])

    def attend(self, run: RunId) -> bool:
        self.hands.append(run)
        self.most_hands[0] = max(self.most_hands[0], self.hands.count(run))
        self.begun.release()
        assert self.may_end.acquire(timeout=WITHIN_S)
        self.hands.remove(run)
        return super().attend(run)


def resolver(rig: Rig) -> SlowResolver:
    return SlowResolver(rig.taskcluster, rig.records, rig.layout.proofs)


@contextmanager
def serving(rig: Rig, resolver: Resolver) -> Iterator[threading.Event]:
    """The inbox at work; what it yields is set when a slot was freed."""
    freed, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=Inbox(rig.redis, rig.records, resolver, freed.set).serve, args=(stop,))
    thread.start()
    try:
        yield freed
    finally:
        stop.set()
        thread.join(WITHIN_S)


def announce(rig: Rig, run: RunId) -> None:
    rig.server.client("executor").rpush(keys.INBOX, run.key)


def test_what_is_announced_while_the_run_is_in_hand_is_attended_to_afterwards(rig: Rig) -> None:
    run, slow = rig.claimed(), resolver(rig)
    with serving(rig, slow):
        announce(rig, run)
        assert slow.begun.acquire(timeout=WITHIN_S)
        announce(rig, run)
        announce(rig, run)
        while rig.redis.exists(keys.INBOX):
            continue
        assert not slow.begun.acquire(timeout=0.1)
        slow.may_end.release()
        assert slow.begun.acquire(timeout=WITHIN_S)
        slow.may_end.release()
    assert slow.most_hands == [1]


def test_a_run_that_is_uploaded_while_its_reference_is_published_is_resolved(rig: Rig) -> None:
    run, slow = rig.claimed(), resolver(rig)
    with serving(rig, slow) as freed:
        announce(rig, run)
        assert slow.begun.acquire(timeout=WITHIN_S)
        rig.uploaded(run, COMPLETED)
        assert slow.begun.acquire(timeout=WITHIN_S)
        slow.may_end.release(2)
        assert freed.wait(WITHIN_S)
    assert rig.status(run)["state"] == "completed"


def test_a_run_that_was_uploaded_before_this_life_is_found_without_being_announced(rig: Rig) -> None:
    run = rig.claimed()
    rig.uploaded(run, COMPLETED)
    rig.server.client("admin").delete(keys.INBOX)
    with serving(rig, Resolver(rig.taskcluster, rig.records, rig.layout.proofs)) as freed:
        assert freed.wait(WITHIN_S)
    assert rig.status(run)["state"] == "completed"


class ForgetfulQueue(service.Service):
    """Knows nobody at first."""

    def answer(self, call: service.Call) -> tuple[int, Any]:
        return (401, {"code": "AuthenticationFailed"}) if len(self.calls) == 1 else (200, {})


def test_a_report_that_is_not_admitted_is_made_again_by_itself(rig: Rig) -> None:
    run = rig.claimed()
    rig.uploaded(run, COMPLETED)
    with service.serving(ForgetfulQueue()) as queue:
        taskcluster = Taskcluster(queue.url, give_up_after_s=0)
        with serving(rig, replace(rig.resolver, taskcluster=taskcluster)) as freed:
            assert freed.wait(WITHIN_S)
        assert [call.path for call in queue.calls] == [f"/api/queue/v1/task/{run.task_id}/runs/0/completed"] * 2
    assert 'resolved_total{reason="completed"} 1' in rig.metrics.read_text()
