"""What holds for every task, whatever is done to it in whatever order."""

import contextlib
import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from simulators.devcluster import QUEUE_ID, ManualClock, task_definition
from taskward.devcluster.claims import Worker
from taskward.devcluster.cluster import Cluster
from taskward.devcluster.definition import Definition
from taskward.devcluster.errors import InputError, RequestConflict, ResourceNotFound
from taskward.devcluster.identifiers import new_slug
from taskward.devcluster.runs import EXCEPTION_REASONS
from taskward.devcluster.settings import Settings
from taskward.devcluster.tasks import MOST_RUNS

_WORKER = Worker("g", "w")
_refusals = (RequestConflict, ResourceNotFound, InputError)
_choices = st.integers(0, 7)
_relations = st.sampled_from(["all-completed", "all-resolved"])


class QueueMachine(RuleBasedStateMachine):
    """Creates, claims, renews, reports, cancels and waits at random."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="tw")
        self.clock = ManualClock()
        self.cluster = Cluster(Settings(Path(self.folder.name), claim_timeout_s=20), "http://x", self.clock)
        self.task_ids: list[str] = []
        self.claimed: set[tuple[str, int]] = set()

    def teardown(self) -> None:
        self.cluster.close()
        self.folder.cleanup()

    def pick(self, choice: int) -> tuple[str, int]:
        """Return some task and its last run."""
        task_id = self.task_ids[choice % len(self.task_ids)] if self.task_ids else new_slug()
        found = self.cluster.tasks.find(task_id)
        return task_id, max(0, len(found.runs) - 1) if found else 0

    @rule(
        needs=st.lists(_choices, max_size=2),
        retries=st.integers(0, 2),
        requires=st.sampled_from(["all-completed", "all-resolved"]),
    )
    def create(self, needs: list[int], retries: int, requires: str) -> None:
        task_id = new_slug()
        dependencies = sorted({self.pick(need)[0] for need in needs})
        body = task_definition(
            self.clock.now(),
            deadline=(self.clock.now() + timedelta(minutes=2)).isoformat(),
            dependencies=dependencies,
            retries=retries,
            requires=requires,
        )
        with contextlib.suppress(*_refusals):
            self.cluster.creation.create(task_id, Definition.parse(task_id, body))
            self.task_ids.append(task_id)

    @rule(most=st.integers(1, 3))
    def claim(self, most: int) -> None:
        for claim in self.cluster.claims.take(QUEUE_ID, _WORKER, most):
            key = (claim.run.task_id, claim.run.run_id)
            assert key not in self.claimed, "a run was given twice"
            self.claimed.add(key)

    @rule(choice=_choices, state=st.sampled_from(["completed", "failed"]))
    def report(self, choice: int, state: str) -> None:
        with contextlib.suppress(*_refusals):
            self.cluster.runs.report(*self.pick(choice), state)

    @rule(choice=_choices, reason=st.sampled_from(sorted(EXCEPTION_REASONS)))
    def report_exception(self, choice: int, reason: str) -> None:
        with contextlib.suppress(*_refusals):
            self.cluster.runs.report_exception(*self.pick(choice), reason)

    @rule(choice=_choices)
    def renew(self, choice: int) -> None:
        with contextlib.suppress(*_refusals):
            self.cluster.claims.renew(*self.pick(choice))

    @rule(choice=_choices, how=st.sampled_from(["cancel", "rerun", "schedule"]))
    def control(self, choice: int, how: str) -> None:
        call = {
            "cancel": self.cluster.runs.cancel,
            "rerun": self.cluster.runs.rerun,
            "schedule": self.cluster.scheduling.schedule,
        }[how]
        with contextlib.suppress(*_refusals):
            call(self.pick(choice)[0])

    @rule(seconds=st.sampled_from([1, 15, 25, 70, 200]))
    def wait(self, seconds: int) -> None:
        self.clock.move(seconds=seconds)
        self.cluster.resolver.sweep()

    @invariant()
    def only_the_last_run_is_unresolved(self) -> None:
        for task in self.cluster.tasks.load_many(self.task_ids):
            assert all(run.resolved for run in task.runs[:-1])
            assert [run.run_id for run in task.runs] == list(range(len(task.runs)))
            assert len(task.runs) <= MOST_RUNS
            assert task.retries_left >= 0

    @invariant()
    def exactly_the_pending_runs_wait(self) -> None:
        tasks = self.cluster.tasks.load_many(self.task_ids)
        expected = {(task.task_id, len(task.runs) - 1) for task in tasks if task.state == "pending"}
        with self.cluster.database.transaction() as db:
            waiting = {tuple(row) for row in db.execute("SELECT task_id, run_id FROM pending_runs")}
        assert waiting == expected

    @invariant()
    def open_tasks_are_those_that_can_still_change_by_themselves(self) -> None:
        for task in self.cluster.tasks.load_many(self.task_ids):
            assert task.open == (task.state in ("unscheduled", "pending", "running"))

    @invariant()
    def nothing_outlives_its_deadline(self) -> None:
        for task in self.cluster.tasks.load_many(self.task_ids):
            assert not task.open or self.clock.now() < task.deadline + timedelta(seconds=60 + 200)


QueueMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
TestQueue = QueueMachine.TestCase
