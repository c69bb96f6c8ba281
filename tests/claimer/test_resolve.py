"""A run is resolved once, with what the record says, whatever happened before."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from taskcluster.exceptions import TaskclusterRestFailure

from simulators.service import Call, Service, serving
from taskward.claimer.resolve import Resolver
from taskward.core import keys
from taskward.core.errors import Unreachable
from taskward.core.outcome import COMPLETED, Outcome, decided_by_queue, exception, failed
from taskward.core.record import Reference
from taskward.core.taskcluster import Taskcluster

from .conftest import Rig, Watch


@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (COMPLETED, "completed", "completed"),
        (failed("exit 1"), "failed", "failed"),
        (exception("malformed-payload", "no"), "exception", "malformed-payload"),
        (exception("worker-shutdown", "bye"), "exception", "worker-shutdown"),
        (exception("intermittent-task", "again"), "exception", "intermittent-task"),
        (exception("resource-unavailable", "s3"), "exception", "resource-unavailable"),
        (exception("internal-error", "bug"), "exception", "internal-error"),
        (exception("superseded", "a reason that today's queue refuses"), "exception", "resource-unavailable"),
    ],
)
def test_the_queue_is_told_the_outcome(rig: Rig, outcome: Outcome, state: str, reason: str) -> None:
    run = rig.claimed()
    rig.uploaded(run, outcome)
    assert rig.resolver.attend(run)
    status = rig.status(run)
    assert (status["state"], status["reasonResolved"]) == (state, reason)
    assert rig.records.active() == frozenset()
    assert not rig.resolver.attend(run)


def test_a_run_is_not_resolved_before_everything_is_uploaded(rig: Rig) -> None:
    run = rig.claimed()
    assert not rig.resolver.attend(run)
    assert rig.status(run)["state"] == "running"


def test_a_claimer_that_died_in_mid_report_is_succeeded_by_the_next(rig: Rig) -> None:
    run = rig.claimed()
    rig.uploaded(run, COMPLETED)
    rig.records.move(run, ("uploading",), "resolving", "1-1")
    assert rig.resolver.attend(run)
    assert rig.status(run)["state"] == "completed"


def test_a_report_that_had_arrived_is_repeated_without_harm(rig: Rig) -> None:
    run = rig.claimed()
    rig.uploaded(run, COMPLETED)
    rig.records.move(run, ("uploading",), "resolving", "1-1")
    rig.resolver._report(run, COMPLETED)
    assert rig.resolver.attend(run)
    assert rig.status(run)["state"] == "completed"


def test_a_canceled_run_stays_canceled_and_frees_its_slot(rig: Rig) -> None:
    run = rig.claimed()
    rig.queue().cancelTask(run.task_id)
    rig.uploaded(run, COMPLETED)
    assert rig.resolver.attend(run)
    assert rig.status(run)["reasonResolved"] == "canceled"


@pytest.mark.parametrize("noticed", [True, False])
def test_a_run_that_the_queue_resolved_during_its_uploads_counts_as_such(rig: Rig, noticed: bool) -> None:
    run = rig.claimed()
    rig.queue().cancelTask(run.task_id)
    if noticed:
        rig.records.abort(run, "canceled")
    rig.uploaded(run, COMPLETED)
    assert rig.resolver.attend(run)
    text = rig.metrics.read_text()
    assert 'resolved_total{reason="unreported"} 1' in text
    assert 'resolved_total{reason="completed"} 0' in text


def test_nothing_is_reported_when_the_queue_has_decided(rig: Rig) -> None:
    run = rig.claimed()
    rig.uploaded(run, decided_by_queue("claim-expired"))
    assert rig.resolver.attend(run)
    assert rig.status(run)["state"] == "running"
    assert rig.records.active() == frozenset()


def test_an_unreachable_queue_leaves_the_run_to_be_resolved_later(rig: Rig) -> None:
    run = rig.claimed()
    rig.uploaded(run, COMPLETED)
    nowhere = Resolver(Taskcluster("http://127.0.0.1:9", give_up_after_s=0), rig.records, rig.layout.proofs)
    with pytest.raises(Unreachable):
        nowhere.attend(run)
    assert rig.resolver.attend(run)
    assert rig.status(run)["state"] == "completed"


def test_a_run_without_an_outcome_is_our_error(rig: Rig) -> None:
    run = rig.claimed()
    rig.uploaded(run, COMPLETED)
    rig.server.client("admin").hdel(keys.run(run.key), "outcome")
    assert rig.resolver.attend(run)
    assert rig.status(run)["reasonResolved"] == "internal-error"


def test_the_live_log_is_published_as_a_reference(rig: Rig) -> None:
    run = rig.claimed()
    url = "http://127.0.0.1:1/log/token"
    expires = rig.queue().task(run.task_id)["expires"]
    rig.records.announce(run, Reference("public/logs/live.log", url, expires, "text/plain; charset=utf-8"))
    rig.resolver.attend(run)
    rig.resolver.attend(run)
    (artifact,) = rig.queue().listArtifacts(run.task_id, 0)["artifacts"]
    assert (artifact["name"], artifact["storageType"]) == ("public/logs/live.log", "reference")
    assert artifact["contentType"] == "text/plain; charset=utf-8"
    with pytest.raises(TaskclusterRestFailure):
        rig.queue().artifactInfo(run.task_id, 0, "public/other")


def test_every_reference_is_published_under_its_own_name(rig: Rig) -> None:
    run = rig.claimed()
    expires = rig.queue().task(run.task_id)["expires"]
    for name in ("public/logs/live.log", "private/shell.html"):
        rig.records.announce(run, Reference(name, f"http://127.0.0.1:1/{name}", expires, "text/html"))
    rig.resolver.attend(run)
    names = {artifact["name"] for artifact in rig.queue().listArtifacts(run.task_id, 0)["artifacts"]}
    assert names == {"public/logs/live.log", "private/shell.html"}


def test_the_secret_in_a_reference_is_not_shown() -> None:
    assert "s3cret" not in repr(Reference("a", "http://127.0.0.1/s3cret", "", ""))


@dataclass
class Refusing(Service):
    """A queue that takes no report, and says so with `status`."""

    status: int = 401

    def answer(self, call: Call) -> tuple[int, Any]:
        return self.status, {"code": "AuthenticationFailed", "message": "Bad mac"}


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    with serving(Refusing()) as service:
        yield service


def _before(rig: Rig, refusing: Refusing, watch: Watch) -> Resolver:
    return replace(rig.resolver, taskcluster=Taskcluster(refusing.url, give_up_after_s=0), clock=watch)


def _counted(rig: Rig, reason: str) -> bool:
    return f'resolved_total{{reason="{reason}"}} 1' in rig.metrics.read_text()


@pytest.mark.parametrize("status", [401, 403])
def test_a_report_that_is_not_admitted_is_made_again_while_the_claim_holds(
    rig: Rig, refusing: Refusing, watch: Watch, status: int
) -> None:
    run, refusing.status = rig.claimed(), status
    rig.uploaded(run, COMPLETED)
    with pytest.raises(Unreachable, match=f"{status}.*Bad mac"):
        _before(rig, refusing, watch).attend(run)
    assert (rig.record(run).phase, rig.records.active()) == ("resolving", frozenset({run}))
    assert rig.resolver.attend(run)
    assert rig.status(run)["state"] == "completed"
    assert _counted(rig, "completed")


def test_a_report_is_made_again_with_the_newest_credentials(rig: Rig) -> None:
    run = rig.claimed()
    rig.uploaded(run, COMPLETED)
    stored, until = rig.records.stored_credentials(run), rig.record(run).taken_until
    rig.records.renew(run, until, json.dumps({**json.loads(stored), "accessToken": "of before"}))
    with pytest.raises(Unreachable):
        rig.resolver.attend(run)
    rig.records.renew(run, until, stored)
    assert rig.resolver.attend(run)
    assert rig.status(run)["state"] == "completed"


@pytest.mark.parametrize("renewed", [True, False])
def test_a_report_is_given_up_when_the_claim_has_ended(
    rig: Rig, refusing: Refusing, watch: Watch, renewed: bool
) -> None:
    run = rig.claimed()
    rig.uploaded(run, COMPLETED)
    resolver, until = _before(rig, refusing, watch), rig.record(run).taken_until
    watch.now = until
    if renewed:
        rig.records.renew(run, until + timedelta(minutes=20), rig.records.stored_credentials(run))
        with pytest.raises(Unreachable):
            resolver.attend(run)
    else:
        assert resolver.attend(run)
        assert _counted(rig, "unreported")


@pytest.mark.parametrize("status", [400, 404])
def test_a_report_that_the_queue_does_not_take_is_told_and_not_counted_as_one(
    rig: Rig, refusing: Refusing, watch: Watch, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    run, refusing.status = rig.claimed(), status
    rig.uploaded(run, COMPLETED)
    with caplog.at_level(logging.INFO):
        assert _before(rig, refusing, watch).attend(run)
    assert rig.records.active() == frozenset()
    assert _counted(rig, "unreported")
    assert not _counted(rig, "completed")
    assert "the queue did not take our report" in caplog.text
    assert "over without a report" in caplog.text
    assert not any(record.message == "resolved" for record in caplog.records)
