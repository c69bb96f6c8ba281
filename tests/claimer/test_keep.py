"""Claims are renewed in time, and a run that the queue has taken away is stopped."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import taskcluster

from taskward.claimer.keep import Keeper
from taskward.core.ids import RunId
from taskward.core.outcome import exception
from taskward.core.settings import ClaimerSettings
from taskward.core.taskcluster import Credentials, Taskcluster

from .conftest import Rig


class Watch:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def keeper(rig: Rig, watch: Watch) -> Keeper:
    return Keeper(rig.taskcluster, rig.credentials, rig.records, ClaimerSettings(), watch)


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
    watch.pass_s(-14 * 60)
    keeper.look()
    watch.pass_s(880)
    keeper.look()
    assert rig.records.stored_credentials(run) == first
    watch.pass_s(40)
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
    keeper = Keeper(nowhere, rig.credentials, rig.records, ClaimerSettings(), watch)
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
    rig.records.move(run, ("uploaded",), "resolving", "claimer/1/1")
    _as_task(rig, run).reportException(run.task_id, run.run_id, {"reason": "worker-shutdown"})
    watch.pass_s(16)
    keeper.look()
    assert rig.record(run).abort == ""


def test_a_worker_that_may_not_ask_for_the_status_believes_a_refused_renewal(rig: Rig, watch: Watch) -> None:
    stranger = Keeper(rig.taskcluster, Credentials("unknown", "x"), rig.records, ClaimerSettings(), watch)
    run = rig.claimed()
    stranger.look()
    rig.queue().cancelTask(run.task_id)
    watch.pass_s(1000)
    stranger.look()
    assert rig.record(run).abort == "canceled"


def test_without_status_a_refusal_before_the_claim_ends_is_not_believed(rig: Rig, watch: Watch) -> None:
    stranger = Keeper(rig.taskcluster, Credentials("unknown", "x"), rig.records, ClaimerSettings(), watch)
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
