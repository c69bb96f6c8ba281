"""What a task may not have fails it, with a log that says what is lacking, before its container is made."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import slugid

from executor.bench import Result, definition
from executor.docker.yard import Yard, task_output
from taskward.core.ids import RunId

pytestmark = pytest.mark.root


def with_role(yard: Yard, role: str, *stands_for: str, **payload: Any) -> Result:
    """A task whose one role the claimer has expanded."""
    bench, run = yard.bench, RunId(slugid.nice(), 0)
    task = {**definition(yard.payload("echo ran", **payload)), "scopes": [role]}
    until = datetime.now(UTC) + timedelta(minutes=20)
    bench.records.claim(run, task, until, "here", "w-1", "{}", [role, *stands_for])
    assert bench.start(run).wait() == 0
    return bench.result(run)


def test_a_device_needs_a_scope(yard: Yard) -> None:
    result = yard.run("echo ran", capabilities={"devices": {"kvm": True}})

    assert (result.outcome.state, result.outcome.reason) == ("failed", "failed")
    assert "Docker configuration could not be created." in result.log
    assert "Insufficient scopes to attach devices to task container." in result.log
    assert "=== Task Starting ===" not in result.log


def test_privileged_needs_a_worker_that_allows_it(yard: Yard) -> None:
    result = yard.run("echo ran", ["docker-worker:capability:privileged"], capabilities={"privileged": True})

    assert result.outcome.state == "failed"
    assert "Worker must be enabled to allow running of privileged tasks." in result.log


def test_a_role_stands_for_the_scopes_of_a_cache(yard: Yard) -> None:
    cache = {"twb-rights": "/c"}

    allowed = with_role(yard, "assume:project:x", "docker-worker:cache:twb-rights", cache=cache)
    refused = with_role(yard, "assume:project:x", "docker-worker:cache:other", cache=cache)

    assert "Insufficient scopes" not in allowed.log
    assert "Missing: docker-worker:cache:twb-rights" in refused.log


def test_what_a_tolerant_worker_ignores_is_told_in_the_log(yard: Yard) -> None:
    yard.use({"strict_payload": False})
    try:
        result = yard.run("echo ran", scopes_of_mine=[], graphs=["/graph.json"])
    finally:
        yard.use()

    assert result.outcome.succeeded
    assert task_output(result) == ["ran"]
    assert "Warning: ignored in task.payload: (root): Additional property scopes_of_mine is not allowed" in result.log
    assert "Warning: payload.graphs has no effect" in result.log
