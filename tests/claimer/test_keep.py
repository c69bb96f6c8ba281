"""Claims are renewed in time, and a run that the queue has taken away is stopped."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import taskcluster

from simulators.service import Call, Service, serving
from taskward.claimer.keep import Keeper
from taskward.core.ids import RunId
from taskward.core.outcome import exception
from taskward.core.settings import ClaimerSettings
from taskward.core.taskcluster import Credentials, Taskcluster

from .conftest import Rig, Watch


@pytest.fixture
def keeper(rig: Rig, watch: Watch) -> Keeper:
    return Keeper(rig.taskcluster, rig.credentials, rig.records, ClaimerSettings(), watch, elapsed_s=watch.elapsed_s)


def test_a_claim_is_renewed_five_minutes_before_it_ends(rig: Rig, keeper: Keeper, watch: Watch) -> None:
    run = rig.claimed()
    first = rig.records.stored_credentials(run)
    keeper.look()
    watch.pass_s(880)
    keeper.look()
    assert rig.records.stored_credentials(run) == first
    watch.pass_s(40)
    keeper.look()
    second = json.loads(rig.records.stored_credentials(run))
    assert second["clientId"] != json.loads(first)["clientId"]
    assert second["authorizedScopes"] == json.loads(first)["authorizedScopes"]
    assert rig.record(run).taken_until > datetime.now(UTC) + timedelta(seconds=1190)


def test_a_slow_clock_of_this_machine_does_not_cost_the_claim(rig: Rig, keeper: Keeper, watch: Watch) -> None:
    run = rig.claimed()
    first = rig.records.stored_credentials(run)
    watch.set_s(-14 * 60)
    keeper.look()
    watch.pass_s(880)
    keeper.look()
    assert rig.records.stored_credentials(run) == first
    watch.pass_s(40)
    keeper.look()
    assert rig.records.stored_credentials(run) != first


@pytest.mark.parametrize("seconds", [-3600, -300, 300])
def test_a_clock_that_is_set_delays_neither_renewal_nor_cancel(
    rig: Rig, keeper: Keeper, watch: Watch, seconds: float
) -> None:
    run, other = rig.claimed(), rig.claimed()
    first = rig.records.stored_credentials(run)
    keeper.look()
    rig.queue().cancelTask(other.task_id)
    watch.set_s(seconds)
    watch.pass_s(16)
    keeper.look()
    assert rig.record(other).abort == "canceled"
    watch.pass_s(904)
    keeper.look()
    assert rig.records.stored_credentials(run) != first


def test_a_canceled_run_is_noticed_at_the_next_status_poll(rig: Rig, keeper: Keeper, watch: Watch) -> None:
    run = rig.claimed()
    keeper.look()
    rig.queue().cancelTask(run.task_id)
    watch.pass_s(14)
    keeper.look()
    assert rig.record(run).abort == ""
    watch.pass_s(2)
    keeper.look()
    assert rig.record(run).abort == "canceled"


def test_a_run_resolved_behind_our_back_is_noticed_at_the_renewal(rig: Rig, keeper: Keeper, watch: Watch) -> None:
    run = rig.claimed()
    keeper.settings = ClaimerSettings(status_poll_s=86_400.0)
    keeper.look()
    rig.queue().cancelTask(run.task_id)
    watch.pass_s(1000)
    keeper.look()
    assert rig.record(run).abort == "canceled"


def test_a_run_that_was_taken_away_is_not_asked_about_again(rig: Rig, keeper: Keeper, watch: Watch) -> None:
    run = rig.claimed()
    rig.records.abort(run, "claim-expired")
    before = rig.records.stored_credentials(run)
    keeper.look()
    watch.pass_s(1190)
    keeper.look()
    assert rig.records.stored_credentials(run) == before


def test_an_unreachable_queue_changes_nothing(rig: Rig, watch: Watch) -> None:
    run = rig.claimed()
    nowhere = Taskcluster("http://127.0.0.1:9", give_up_after_s=0)
    keeper = Keeper(nowhere, rig.credentials, rig.records, ClaimerSettings(), watch, elapsed_s=watch.elapsed_s)
    keeper.look()
    watch.pass_s(1000)
    keeper.look()
    assert rig.record(run).abort == ""
    keeper.taskcluster = rig.taskcluster
    watch.pass_s(3)
    keeper.look()
    assert rig.record(run).taken_until > datetime.now(UTC) + timedelta(seconds=1190)


def test_a_run_that_is_resolved_meanwhile_is_forgotten(rig: Rig, keeper: Keeper, watch: Watch) -> None:
    run = rig.claimed()
    keeper.look()
    rig.records.resolved(run)
    watch.pass_s(5000)
    keeper.look()
    assert rig.records.active() == frozenset()


def _as_task(rig: Rig, run: RunId) -> Any:
    """The queue, with the run's own credentials."""
    stored = json.loads(rig.records.stored_credentials(run))
    credentials = {name: stored[name] for name in ("clientId", "accessToken", "certificate")}
    return taskcluster.Queue({"rootUrl": rig.cluster.root_url, "credentials": credentials, "maxRetries": 0})


def test_a_run_that_the_queue_resolved_for_a_removed_worker_is_stopped(rig: Rig, keeper: Keeper, watch: Watch) -> None:
    run = rig.claimed()
    keeper.look()
    _as_task(rig, run).reportException(run.task_id, run.run_id, {"reason": "worker-shutdown"})
    watch.pass_s(16)
    keeper.look()
    assert rig.record(run).abort == "claim-expired"


def test_our_own_report_takes_nothing_away(rig: Rig, keeper: Keeper, watch: Watch) -> None:
    run = rig.claimed()
    keeper.look()
    rig.uploaded(run, exception("worker-shutdown", ""))
    rig.records.move(run, ("uploading",), "resolving", "claimer/1/1")
    _as_task(rig, run).reportException(run.task_id, run.run_id, {"reason": "worker-shutdown"})
    watch.pass_s(16)
    keeper.look()
    assert rig.record(run).abort == ""


def test_a_worker_that_may_not_ask_for_the_status_believes_a_refused_renewal(rig: Rig, watch: Watch) -> None:
    stranger = Keeper(
        rig.taskcluster, Credentials("unknown", "x"), rig.records, ClaimerSettings(), watch, elapsed_s=watch.elapsed_s
    )
    run = rig.claimed()
    stranger.look()
    rig.queue().cancelTask(run.task_id)
    watch.pass_s(1000)
    stranger.look()
    assert rig.record(run).abort == "canceled"


def test_without_status_a_refusal_before_the_claim_ends_is_not_believed(rig: Rig, watch: Watch) -> None:
    stranger = Keeper(
        rig.taskcluster, Credentials("unknown", "x"), rig.records, ClaimerSettings(), watch, elapsed_s=watch.elapsed_s
    )
    run = rig.claimed()
    stored = json.loads(rig.records.stored_credentials(run))
    rig.records.renew(run, rig.record(run).taken_until, json.dumps({**stored, "accessToken": "wrong"}))
    stranger.look()
    watch.pass_s(1000)
    stranger.look()
    assert rig.record(run).abort == ""
    watch.pass_s(300)
    stranger.look()
    assert rig.record(run).abort == "claim-expired"


def test_past_the_deadline_a_run_is_over_though_its_status_says_running_yet(
    rig: Rig, keeper: Keeper, watch: Watch
) -> None:
    run = rig.claimed(deadline=(datetime.now(UTC) + timedelta(seconds=0.5)).isoformat())
    keeper.look()
    time.sleep(0.6)  # the queue goes by its own clock
    watch.pass_s(1000)
    keeper.look()
    assert rig.status(run)["state"] == "running"
    assert rig.record(run).abort == "deadline-exceeded"


class Doorkeeper(Service):
    """A queue that answers reclaims, and looks at runs, as it is told to."""

    reclaim: tuple[int, Any] = (403, {"code": "InsufficientScopes", "message": "no"})
    state = "running"

    def answer(self, call: Call) -> tuple[int, Any]:
        if call.path.endswith("/reclaim"):
            return self.reclaim
        return 200, {"status": {"runs": [{"state": self.state, "reasonResolved": "canceled"}]}}

    @property
    def reclaims(self) -> int:
        return sum(call.path.endswith("/reclaim") for call in self.calls)


@pytest.fixture
def door() -> Iterator[Doorkeeper]:
    with serving(Doorkeeper()) as service:
        yield service


@pytest.fixture
def at_the_door(rig: Rig, watch: Watch, door: Doorkeeper) -> Keeper:
    return Keeper(
        Taskcluster(door.url, give_up_after_s=0),
        rig.credentials,
        rig.records,
        ClaimerSettings(),
        watch,
        elapsed_s=watch.elapsed_s,
    )


def _refused_once(rig: Rig, keeper: Keeper, watch: Watch) -> RunId:
    run = rig.claimed()
    keeper.look()
    watch.pass_s(1000)
    keeper.look()
    return run


@pytest.mark.parametrize("status", [401, 403])
def test_who_is_not_admitted_asks_again_while_the_claim_holds(
    rig: Rig, at_the_door: Keeper, door: Doorkeeper, watch: Watch, status: int
) -> None:
    door.reclaim = (status, door.reclaim[1])
    run = _refused_once(rig, at_the_door, watch)
    watch.pass_s(3)
    at_the_door.look()
    assert (rig.record(run).abort, door.reclaims) == ("", 2)
    at_the_door.taskcluster = rig.taskcluster
    watch.pass_s(3)
    at_the_door.look()
    assert rig.record(run).taken_until > datetime.now(UTC) + timedelta(seconds=1190)


def test_who_is_never_admitted_has_lost_the_run_when_the_claim_ends(
    rig: Rig, at_the_door: Keeper, watch: Watch
) -> None:
    run = _refused_once(rig, at_the_door, watch)
    watch.pass_s(201)
    at_the_door.look()
    assert rig.record(run).abort == "claim-expired"


def test_a_run_that_the_queue_has_resolved_is_not_asked_for_again(
    rig: Rig, at_the_door: Keeper, door: Doorkeeper, watch: Watch
) -> None:
    door.state = "exception"
    run = _refused_once(rig, at_the_door, watch)
    assert rig.record(run).abort == "canceled"


@pytest.mark.parametrize("status", [400, 409])
def test_any_other_refusal_of_a_run_that_goes_on_is_final(
    rig: Rig, at_the_door: Keeper, door: Doorkeeper, watch: Watch, status: int
) -> None:
    door.reclaim = (status, {"code": "Any", "message": "no"})
    assert rig.record(_refused_once(rig, at_the_door, watch)).abort == "claim-expired"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"takenUntil": "2030-01-01T00:00:00Z"},
        {"takenUntil": "soon", "credentials": {"clientId": "c", "accessToken": "t"}},
        {"takenUntil": "2030-01-01T00:00:00Z", "credentials": {"clientId": 5, "accessToken": "t"}},
        {"takenUntil": "2030-01-01T00:00:00Z", "credentials": "c"},
    ],
)
def test_a_renewal_without_meaning_changes_nothing_and_is_asked_for_again(
    rig: Rig, at_the_door: Keeper, door: Doorkeeper, watch: Watch, answer: dict[str, Any]
) -> None:
    door.reclaim = (200, answer)
    run = _refused_once(rig, at_the_door, watch)
    before = rig.records.stored_credentials(run)
    watch.pass_s(3)
    at_the_door.look()
    assert (rig.record(run).abort, rig.records.stored_credentials(run), door.reclaims) == ("", before, 2)


@pytest.mark.parametrize("runs", [None, 5, "running", [5], [{}], [{"state": None}]])
def test_a_status_without_meaning_takes_nothing_away(
    rig: Rig, at_the_door: Keeper, door: Doorkeeper, watch: Watch, runs: Any
) -> None:
    run = rig.claimed()
    at_the_door.look()
    door.answer = lambda call: (200, {"status": {"runs": runs}})  # type: ignore[method-assign]  # one wrong word
    watch.pass_s(16)
    at_the_door.look()
    assert (rig.record(run).abort, len(door.calls)) == ("", 1)
