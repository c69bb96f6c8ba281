"""A claim becomes a record, credentials and a job; and nothing is claimed that nobody could run."""

import fcntl
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from simulators.patience import until
from simulators.service import Call, Service, serving
from taskward.claimer.answers import Claim, read
from taskward.claimer.claim import Claims, claim_for_ever, leave_when_draining
from taskward.claimer.slots import Slots
from taskward.core import keys
from taskward.core.errors import Refused, Unreachable
from taskward.core.ids import RunId
from taskward.core.jobs import EXECUTE
from taskward.core.metrics import Metrics
from taskward.core.taskcluster import Credentials, Taskcluster

from .conftest import Rig


def slots(rig: Rig) -> Slots:
    return Slots(rig.redis, rig.records, rig.layout, rig.worker.capacity)


def executor(rig: Rig, number: int = 0) -> int:
    """The lock that a living executor holds."""
    fd = os.open(rig.layout.locks("execute") / f"executor-1-{number}", os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def _usable(entry: dict[str, Any]) -> Claim:
    claim = read(entry)
    assert isinstance(claim, Claim)
    return claim


def test_a_claimed_run_is_recorded_and_queued(rig: Rig) -> None:
    run = rig.claimed(scopes=["secrets:get:mine"])
    record = rig.record(run)
    assert record.phase == "claimed"
    assert record.definition["scopes"] == ["secrets:get:mine"]
    assert rig.server.client().lrange(EXECUTE.key, 0, -1) == [f"x-{run.directory}".encode()]


def test_a_task_may_do_what_its_scopes_say_and_upload_its_own_artifacts(rig: Rig) -> None:
    run = rig.claimed(scopes=["secrets:get:mine"])
    stored = json.loads(rig.records.stored_credentials(run))
    assert stored["authorizedScopes"] == ["secrets:get:mine", f"queue:create-artifact:{run.key}"]
    assert json.loads(stored["certificate"])["scopes"]


def test_no_run_is_claimed_twice(rig: Rig) -> None:
    run = rig.claimed()
    before = rig.records.stored_credentials(run)
    claim = {
        "status": {"taskId": run.task_id}, "runId": 0, "task": {}, "takenUntil": "2030-01-01T00:00:00Z",
        "workerGroup": "g", "workerId": "w", "credentials": {"clientId": "other", "accessToken": "x"},
    }  # fmt: skip
    rig.claims.take(_usable(claim))
    assert rig.records.stored_credentials(run) == before


def test_without_an_executor_nothing_is_claimed(rig: Rig) -> None:
    assert slots(rig).free() == 0


def test_executors_and_runs_are_counted(rig: Rig) -> None:
    locks = [executor(rig, n) for n in range(5)]
    assert slots(rig).free() == 2
    rig.claimed()
    assert slots(rig).free() == 1
    os.close(locks.pop())
    for fd in locks:
        os.close(fd)
    assert slots(rig).free() == 0


def test_an_executor_that_was_told_to_stop_is_not_counted(rig: Rig) -> None:
    fd = executor(rig)
    assert slots(rig).free() == 1
    os.write(fd, b"stopping")
    assert slots(rig).free() == 0
    os.close(fd)


def test_a_draining_worker_claims_nothing(rig: Rig) -> None:
    fd = executor(rig)
    rig.server.client("admin").set(keys.DRAIN, "maintenance")
    assert slots(rig).free() == 0
    os.close(fd)


def test_a_wrong_token_is_told_apart_from_an_unreachable_queue(rig: Rig) -> None:
    stranger = Claims(rig.taskcluster, Credentials("nobody", "x"), rig.worker, rig.records)
    with pytest.raises(Refused) as refused:
        stranger.ask(1)
    assert refused.value.status == 401
    nowhere = Taskcluster("http://127.0.0.1:9", give_up_after_s=0)
    with pytest.raises(Unreachable):
        Claims(nowhere, rig.credentials, rig.worker, rig.records).ask(1)


def test_who_hangs_up_is_given_nothing_more(rig: Rig) -> None:
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(rig.claims.ask, 1)
        until(lambda: rig.claims._line._connection, "it asks")
        rig.claims.hang_up()
        assert asking.result(5) == 0
    rig.claims.hang_up()  # nobody asks: nothing happens
    task_id = rig.create()
    assert rig.claims.ask(1) == 1
    assert rig.records.active() == {RunId(task_id, 0)}


def test_a_request_that_waits_ends_when_the_worker_is_drained_and_the_metrics_say_so(rig: Rig) -> None:
    admin, over = rig.server.client("admin"), threading.Event()
    claims = replace(rig.claims, metrics=Metrics("claimer", rig.metrics))
    with ThreadPoolExecutor(2) as pool:
        asking = pool.submit(rig.claims.ask, 1)
        leaving = pool.submit(leave_when_draining, claims, slots(rig), over)
        until(lambda: rig.claims._line._connection, "it asks")
        admin.set(keys.DRAIN, "1")
        assert asking.result(5) == 0
        until(lambda: admin.get(keys.DRAIN) == keys.DRAIN_HEARD.encode(), "it is told")
        until(lambda: "taskward_claimer_draining 1\n" in rig.metrics.read_text(), "it is counted")
        admin.delete(keys.DRAIN)
        until(lambda: "taskward_claimer_draining 0\n" in rig.metrics.read_text(), "it is over")
        over.set()
        leaving.result(5)
    assert admin.get(keys.DRAIN) is None


def test_the_loop_fills_free_slots_and_ends_when_told(rig: Rig) -> None:
    task_id = rig.create()
    stop, wake = threading.Event(), threading.Event()
    free = iter([0, 1])

    def count() -> int:
        number = next(free, None)
        if number is None:
            stop.set()
        return number or 0

    wake.set()
    claim_for_ever(rig.claims, count, stop, wake)
    assert {run.task_id for run in rig.records.active()} == {task_id}


def test_a_queue_that_never_waits_is_not_asked_without_a_pause(rig: Rig) -> None:
    class Hasty(Service):
        def answer(self, call: Call) -> tuple[int, Any]:
            return 200, {"tasks": []}

    stop = threading.Event()
    with serving(Hasty()) as queue:
        claims = replace(rig.claims, taskcluster=Taskcluster(queue.url, give_up_after_s=0))
        threading.Timer(0.2, stop.set).start()
        claim_for_ever(claims, lambda: 1, stop, threading.Event())
        assert len(queue.calls) == 1


def test_roles_in_a_tasks_scopes_are_written_out(rig: Rig) -> None:
    rig.auth().createRole("project:x", {"description": "", "scopes": ["docker-worker:cache:x"]})
    record = rig.record(rig.claimed(scopes=["assume:project:x"]))
    assert "docker-worker:cache:x" in record.expanded_scopes
    assert record.definition["scopes"] == ["assume:project:x"]


def test_scopes_without_roles_need_no_expansion(rig: Rig) -> None:
    assert rig.record(rig.claimed(scopes=["secrets:get:mine"])).expanded_scopes == ()


def test_a_run_is_claimed_even_if_its_roles_cannot_be_written_out(rig: Rig) -> None:
    rig.claims = replace(rig.claims, credentials=Credentials("unknown", "x"))
    claim = {
        "status": {"taskId": "AAAAAAAAQAaAAAAAAAAAAA"}, "runId": 0, "task": {"scopes": ["assume:project:x"]},
        "takenUntil": "2030-01-01T00:00:00Z", "workerGroup": "g", "workerId": "w",
        "credentials": {"clientId": "other", "accessToken": "x"},
    }  # fmt: skip
    rig.claims.take(_usable(claim))
    assert rig.record(RunId("AAAAAAAAQAaAAAAAAAAAAA", 0)).expanded_scopes == ()
