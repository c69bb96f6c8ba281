"""Claims as time goes by."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from simulators.devcluster import ManualClock, task_definition
from taskward.devcluster.claims import Worker
from taskward.devcluster.clock import parse_instant
from taskward.devcluster.cluster import Cluster
from taskward.devcluster.definition import Definition
from taskward.devcluster.errors import RequestConflict
from taskward.devcluster.identifiers import new_slug


class TestWithClock:
    """What depends on the time."""

    worker = Worker("g", "w")

    def running(self, cluster: Cluster, clock: ManualClock, **changes: Any) -> str:
        task_id = new_slug()
        definition = Definition.parse(task_id, task_definition(clock.now(), **changes))
        cluster.creation.create(task_id, definition)
        assert cluster.claims.take("proj-test/ci", self.worker, 1)
        return task_id

    def test_claim_holds_for_the_timeout_whatever_the_deadline(self, cluster: Cluster, clock: ManualClock) -> None:
        deadline = (clock.now() + timedelta(seconds=10)).isoformat()
        task_id = self.running(cluster, clock, deadline=deadline)
        assert cluster.tasks.load(task_id).runs[0].taken_until == clock.now() + timedelta(seconds=20)

    def test_renewed_claim_does_not_expire(self, cluster: Cluster, clock: ManualClock) -> None:
        task_id = self.running(cluster, clock)
        clock.move(seconds=15)
        cluster.claims.renew(task_id, 0)
        clock.move(seconds=15)
        cluster.resolver.sweep()
        assert cluster.tasks.load(task_id).state == "running"

    def test_expired_claim_is_retried(self, cluster: Cluster, clock: ManualClock) -> None:
        task_id = self.running(cluster, clock)
        clock.move(seconds=21)
        cluster.resolver.sweep()
        cluster.resolver.sweep()
        task = cluster.tasks.load(task_id)
        assert [(run.state, run.reason_resolved, run.reason_created) for run in task.runs] == [
            ("exception", "claim-expired", "scheduled"),
            ("pending", None, "retry"),
        ]
        assert task.retries_left == 4
        with pytest.raises(RequestConflict, match="resolved or not running"):
            cluster.claims.renew(task_id, 0)

    def test_expired_claim_is_not_retried_without_retries(self, cluster: Cluster, clock: ManualClock) -> None:
        task_id = self.running(cluster, clock, retries=0)
        clock.move(seconds=21)
        cluster.resolver.sweep()
        assert cluster.tasks.load(task_id).state == "exception"
        assert len(cluster.tasks.load(task_id).runs) == 1

    def test_late_renewal_counts_until_the_resolver_comes(self, cluster: Cluster, clock: ManualClock) -> None:
        task_id = self.running(cluster, clock)
        clock.move(seconds=30)
        cluster.claims.renew(task_id, 0)
        cluster.resolver.sweep()
        assert cluster.tasks.load(task_id).state == "running"

    def test_past_the_deadline_nothing_is_claimed_or_renewed(self, cluster: Cluster, clock: ManualClock) -> None:
        task_id = self.running(cluster, clock)
        waiting = new_slug()
        cluster.creation.create(waiting, Definition.parse(waiting, task_definition(clock.now())))
        clock.move(hours=1, seconds=1)
        with pytest.raises(RequestConflict, match="past its deadline"):
            cluster.claims.renew(task_id, 0)
        assert cluster.claims.take("proj-test/ci", self.worker, 1) == []
        with pytest.raises(RequestConflict, match="past its deadline"):
            cluster.claims.take_one(waiting, 0, self.worker)

    def test_deadline_is_enforced_a_minute_late(self, cluster: Cluster, clock: ManualClock) -> None:
        task_id = self.running(cluster, clock)
        clock.move(hours=1, seconds=59)
        cluster.resolver.sweep()
        assert cluster.tasks.load(task_id).state == "running"
        clock.move(seconds=2)
        cluster.resolver.sweep()
        task = cluster.tasks.load(task_id)
        assert [(run.state, run.reason_resolved) for run in task.runs] == [("exception", "deadline-exceeded")]

    def test_report_after_the_deadline_counts_until_the_resolver_comes(
        self, cluster: Cluster, clock: ManualClock
    ) -> None:
        task_id = self.running(cluster, clock)
        clock.move(hours=1, seconds=30)
        assert cluster.runs.report(task_id, 0, "completed").state == "completed"

    def test_unscheduled_task_is_resolved_at_its_deadline(self, cluster: Cluster, clock: ManualClock) -> None:
        first = self.running(cluster, clock)
        second = new_slug()
        definition = task_definition(clock.now(), dependencies=[first])
        cluster.creation.create(second, Definition.parse(second, definition))
        clock.move(hours=2)
        cluster.resolver.sweep()
        task = cluster.tasks.load(second)
        assert [(run.reason_created, run.reason_resolved) for run in task.runs] == [("exception", "deadline-exceeded")]


def test_times_are_written_in_utc() -> None:
    offset = parse_instant("2030-01-01T01:00:00+01:00")
    assert offset == datetime(2030, 1, 1, tzinfo=UTC)
