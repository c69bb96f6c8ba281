"""What the queue may answer to claimWork: every claim counts by itself, and none ends the claimer."""

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import slugid

from simulators.service import Call, Service, serving
from taskward.claimer.answers import Claim, Misfit, read
from taskward.claimer.claim import Claims, claim_for_ever
from taskward.core.ids import RunId
from taskward.core.taskcluster import Taskcluster

from .conftest import Rig

ABSENT = object()


def entry(**changed: Any) -> dict[str, Any]:
    """A claim as the queue sends it, but for `changed`."""
    whole = {
        "status": {"taskId": str(slugid.nice())}, "runId": 0, "task": {"scopes": [], "payload": {}},
        "takenUntil": "2030-01-01T00:00:00Z", "workerGroup": "group", "workerId": "worker",
        "credentials": {"clientId": "claim", "accessToken": "s3cret", "certificate": "{}"},
    }  # fmt: skip
    return {name: value for name, value in {**whole, **changed}.items() if value is not ABSENT}


@dataclass
class Careless(Service):
    """A queue that hands out whatever is in `tasks`, and takes reports, or not."""

    tasks: Any = field(default_factory=list)
    takes_reports: bool = True

    def answer(self, call: Call) -> tuple[int, Any]:
        if "/claim-work/" in call.path:
            return 200, {} if self.tasks is ABSENT else {"tasks": self.tasks}
        return (200, {}) if self.takes_reports else (500, {})

    @property
    def reports(self) -> list[tuple[str, Any]]:
        """Path and body of each."""
        return [(call.path, json.loads(call.body)) for call in self.calls if call.path.endswith("/exception")]


@pytest.fixture
def queue() -> Iterator[Careless]:
    with serving(Careless()) as service:
        yield service


@pytest.fixture
def claims(rig: Rig, queue: Careless) -> Claims:
    return replace(rig.claims, taskcluster=Taskcluster(queue.url, give_up_after_s=0))


WRONG: list[tuple[dict[str, Any], str, str | None]] = [
    ({"status": ABSENT}, "status: not an object with a taskId", None),
    ({"status": {"taskId": 5}}, "status: not an object with a taskId", None),
    ({"status": {"taskId": "../../etc"}}, "not a taskId: '../../etc'", None),
    ({"runId": ABSENT}, "runId: not a number: None", None),
    ({"runId": 0.0}, "runId: not a number: 0.0", None),
    ({"runId": -1}, "not a runId: -1", None),
    ({"runId": True}, "not a runId: True", None),
    ({"credentials": ABSENT}, "credentials: not an object with", None),
    ({"credentials": {"clientId": "claim"}}, "credentials: not an object with", None),
    ({"credentials": {"clientId": "a\r\nb", "accessToken": "s3cret"}}, "credentials: not an object with", None),
    ({"task": None}, "task: not an object: None", "malformed-payload"),
    ({"task": {"scopes": None}}, "task.scopes: not a list of strings: None", "malformed-payload"),
    ({"task": {"scopes": [5]}}, "task.scopes: not a list of strings: [5]", "malformed-payload"),
    ({"task": {"deadline": "never"}}, "task.deadline: not a time: 'never'", "malformed-payload"),
    ({"takenUntil": "soon"}, "takenUntil: not a time: 'soon'", "internal-error"),
    ({"takenUntil": 5}, "takenUntil: not a time: 5", "internal-error"),
    ({"takenUntil": "0001-01-01T00:00:00+14:00"}, "takenUntil: not a time", "internal-error"),
    ({"takenUntil": "2030-01-01T00:00:00"}, "takenUntil: not a time", "internal-error"),
    ({"workerGroup": "\ud800"}, "workerGroup: not a name", "internal-error"),
    ({"workerId": ABSENT}, "workerId: not a name: None", "internal-error"),
]


@pytest.mark.parametrize(("changed", "fault", "reason"), WRONG)
def test_what_is_wrong_with_a_claim_is_named_and_whether_it_can_be_given_up(
    changed: dict[str, Any], fault: str, reason: str | None
) -> None:
    misfit = read(entry(**changed))
    assert isinstance(misfit, Misfit)
    assert misfit.fault.startswith(fault)
    assert (misfit.reason if misfit.run and misfit.credentials else None) == reason


@pytest.mark.parametrize("thing", [5, None, "s3cret", ["s3cret"], float("nan")])
def test_what_is_no_claim_at_all_is_not_shown(thing: object) -> None:
    misfit = read(thing)
    assert isinstance(misfit, Misfit)
    assert misfit.fault.startswith("not an object but")
    assert "s3cret" not in repr(misfit)


def test_a_claim_is_read_whole() -> None:
    claim = read(entry(task={"scopes": ["a"], "deadline": "2030-01-01T00:00:00Z"}))
    assert isinstance(claim, Claim)
    assert (claim.scopes, claim.worker_group, claim.taken_until.year) == (["a"], "group", 2030)


def test_bad_claims_do_not_cost_their_good_neighbours(
    rig: Rig, queue: Careless, claims: Claims, caplog: pytest.LogCaptureFixture
) -> None:
    good = [entry(), entry()]
    bad = [entry(**changed) for changed, _, _ in WRONG]
    queue.tasks = [bad[0], good[0], 5, *bad[1:], None, good[1]]
    assert claims.ask(32) == 2
    assert rig.records.active() == {RunId(each["status"]["taskId"], 0) for each in good}
    assert len(queue.reports) == sum(reason is not None for _, _, reason in WRONG)
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == len(bad) + 2
    assert "s3cret" not in str([vars(record) for record in told])


@pytest.mark.parametrize(
    ("changed", "reason"), [({"takenUntil": "soon"}, "internal-error"), ({"task": None}, "malformed-payload")]
)
def test_a_bad_claim_is_given_up_with_its_own_credentials(
    rig: Rig, queue: Careless, claims: Claims, changed: dict[str, Any], reason: str
) -> None:
    queue.tasks = [entry(**changed)]
    assert claims.ask(1) == 0
    task_id = queue.tasks[0]["status"]["taskId"]
    assert queue.reports == [(f"/api/queue/v1/task/{task_id}/runs/0/exception", {"reason": reason})]
    assert 'id="claim"' in queue.calls[-1].fields["authorization"]
    assert rig.records.active() == frozenset()


def test_a_run_in_hand_is_not_given_up_because_it_is_offered_again_and_badly(
    rig: Rig, queue: Careless, claims: Claims
) -> None:
    good = entry()
    queue.tasks = [good, {**good, "takenUntil": "soon"}]
    assert claims.ask(2) == 1
    assert queue.reports == []
    assert len(rig.records.active()) == 1


def test_a_bad_claim_that_cannot_be_given_up_is_left_to_end(
    queue: Careless, claims: Claims, caplog: pytest.LogCaptureFixture
) -> None:
    queue.tasks, queue.takes_reports = [entry(takenUntil="soon")], False
    assert claims.ask(1) == 0
    assert "an unusable claim was not given up" in caplog.text


@pytest.mark.parametrize("tasks", ["tasks", float("nan"), 5, None, {"status": "s3cret"}, ABSENT])
def test_an_answer_that_is_no_list_is_no_claim_and_is_told(
    queue: Careless, claims: Claims, caplog: pytest.LogCaptureFixture, tasks: Any
) -> None:
    queue.tasks = tasks
    assert claims.ask(1) == 0
    assert "the answer is no list of claims" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("tasks", [float("nan"), [5]])
def test_a_queue_that_talks_nonsense_is_asked_with_pauses(queue: Careless, claims: Claims, tasks: Any) -> None:
    queue.tasks, stop = tasks, threading.Event()
    threading.Timer(0.2, stop.set).start()
    claim_for_ever(claims, lambda: 1, stop, threading.Event())
    assert len(queue.calls) == 1
