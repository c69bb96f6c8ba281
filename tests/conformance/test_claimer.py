"""Everything that the claimer says to the queue, and what it can do with every answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import taskcluster

from conformance.front import Front
from simulators.devcluster import task_definition
from simulators.redis import RedisServer
from taskward.claimer.claim import Claims
from taskward.claimer.keep import Keeper
from taskward.claimer.resolve import Resolver
from taskward.core.ids import RunId
from taskward.core.outcome import COMPLETED, EXCEPTION_REASONS, Outcome, exception, failed
from taskward.core.record import Records, Reference
from taskward.core.settings import ClaimerSettings, WorkerSettings
from taskward.core.taskcluster import Credentials, Taskcluster

QUEUE = "proj-test/ci"
_NOT_TAKEN_ANY_MORE = {"superseded": "resource-unavailable"}


class Claimer:
    """Its parts in this process, between a real Redis and the observed cluster."""

    def __init__(self, front: Front, server: RedisServer, worker: WorkerSettings) -> None:
        root = front.queue.options["credentials"]
        self.front, self.records = front, Records(server.client("admin"))
        self.now = datetime.now(UTC)
        calls = Taskcluster(front.url, give_up_after_s=2)
        credentials = Credentials(root["clientId"].decode(), root["accessToken"].decode())
        self.claims = Claims(calls, credentials, worker, self.records)
        self.keeper = Keeper(
            calls,
            credentials,
            self.records,
            ClaimerSettings(),
            lambda: self.now,
            elapsed_s=lambda: self.now.timestamp(),
        )
        self.resolver = Resolver(calls, self.records, worker.state_dir)

    def claimed(self, **more: Any) -> RunId:
        task_id = taskcluster.slugId()
        self.front.queue.createTask(task_id, task_definition(taskQueueId=QUEUE, retries=0, **more))
        assert self.claims.ask(32) == 1
        return RunId(task_id, 0)

    def resolved(self, run: RunId, outcome: Outcome) -> str:
        """What the queue calls the run afterwards."""
        self.records.move(run, ("claimed",), "collecting", "executor")
        self.records.fan_out(run, "executor", 0, outcome)
        assert self.records.uploaded(run)
        assert self.resolver.attend(run)
        status = self.front.queue.status(run.task_id)["status"]["runs"][0]
        return f"{status['state']}/{status['reasonResolved']}"


@pytest.fixture
def claimer(front: Front, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Claimer:
    redis_server.flush()
    worker = WorkerSettings(QUEUE, "group", "worker", tmp_path_factory.getbasetemp() / "w")
    return Claimer(front, redis_server, worker)


def test_claim_poll_and_renewal(claimer: Claimer, front: Front) -> None:
    run = claimer.claimed(scopes=["assume:project:x"], priority="high", tags={"kind": "test"})
    before = claimer.records.stored_credentials(run)
    for _ in range(3):
        claimer.keeper.look()
        claimer.now += timedelta(seconds=500)
    assert claimer.records.stored_credentials(run) != before
    assert front.observer.names >= {"claimWork", "expandScopes", "status", "reclaimTask"}


@pytest.mark.parametrize("outcome", [COMPLETED, failed("x"), *(exception(reason, "x") for reason in EXCEPTION_REASONS)])
def test_every_outcome_is_reported(claimer: Claimer, front: Front, outcome: Outcome) -> None:
    reason = _NOT_TAKEN_ANY_MORE.get(outcome.reason, outcome.reason)
    assert claimer.resolved(claimer.claimed(), outcome) == f"{outcome.state}/{reason}"


def test_a_live_log_is_a_reference(claimer: Claimer, front: Front) -> None:
    run = claimer.claimed()
    expires = front.queue.task(run.task_id)["expires"]
    url = "https://worker.example.com:60023/log/secret%20token/live.log"
    claimer.records.announce(run, Reference("public/logs/live.log", url, expires, "text/plain; charset=utf-8"))
    claimer.resolver.attend(run)
    assert front.queue.getArtifact(run.task_id, 0, "public/logs/live.log") == {"storageType": "reference", "url": url}


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        ("reportCompleted", COMPLETED),
        ("reportFailed", failed("x")),
        ("reportException", exception("internal-error", "")),
    ],
)
def test_a_report_whose_answer_got_lost_is_repeated(
    claimer: Claimer, front: Front, call: str, outcome: Outcome
) -> None:
    run = claimer.claimed()
    front.observer.to_lose.add(call)
    assert claimer.resolved(run, outcome) == f"{outcome.state}/{outcome.reason}"


def test_a_renewal_whose_answer_got_lost_is_repeated(claimer: Claimer, front: Front) -> None:
    run = claimer.claimed()
    claimer.keeper.look()
    claimer.now += timedelta(seconds=950)
    front.observer.to_lose.add("reclaimTask")
    claimer.keeper.look()
    before = claimer.records.stored_credentials(run)
    claimer.now += timedelta(seconds=3)
    claimer.keeper.look()
    assert claimer.records.stored_credentials(run) != before
