"""Behaviours that generic-worker's own tests assert, where no test of a part of ours does."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import slugid

from executor.bench import Bench, definition, shell
from taskward.core.clock import format_time, parse_time
from taskward.core.ids import RunId


@pytest.mark.parametrize("moment", ["deadline", "between", "expires"])
def test_artifacts_may_expire_from_the_deadline_to_the_tasks_own_end(bench: Bench, moment: str) -> None:
    task = definition({})
    deadline, end = parse_time(task["deadline"]), parse_time(task["expires"])
    when = {"deadline": deadline, "between": deadline + (end - deadline) / 2, "expires": end}[moment]
    artifact = {"type": "file", "path": "f", "expires": format_time(when)}

    result = bench.run_payload(
        {"command": shell("echo > f"), "maxRunTime": 9, "artifacts": [artifact]},
        deadline=task["deadline"], expires=task["expires"],
    )  # fmt: skip

    assert result.outcome.succeeded
    assert result.entries["f"].expires == format_time(when)


@pytest.mark.parametrize("encoding", ["", "jpg", "GZIP"])
def test_an_encoding_that_is_none_is_malformed(bench: Bench, encoding: str) -> None:
    artifact = {"type": "file", "path": "f", "contentEncoding": encoding}

    result = bench.run(shell("echo > f"), artifacts=[artifact])

    assert result.outcome.reason == "malformed-payload"
    assert 'must be one of the following: "identity", "gzip"' in result.log


@pytest.mark.root
@pytest.mark.parametrize(("optional", "state"), [(False, "failed"), (True, "completed")])
def test_a_file_of_root_is_no_artifact(bench: Bench, optional: bool, state: str) -> None:
    artifact = {"type": "file", "path": "/etc/shadow", "name": "public/x", "optional": optional}

    result = bench.run([["true"]], artifacts=[artifact])

    assert result.outcome.state == state
    assert result.entries["public/x"].reason == "file-not-readable-on-worker"


@pytest.mark.parametrize(
    ("code", "listed", "reason"),
    [
        (0, [], "completed"),
        (0, [123], "completed"),
        (45, [123], "failed"),
        (123, [], "failed"),
        (123, [123], "intermittent-task"),
        (123, [122, 123, 124], "intermittent-task"),
    ],
)
def test_only_listed_failures_are_intermittent(bench: Bench, code: int, listed: list[int], reason: str) -> None:
    result = bench.run(shell(f"exit {code}"), onExitStatus={"retry": listed})

    assert (result.outcome.reason or result.outcome.state) == reason


def cache_of(bench: Bench, *expanded: str) -> Any:
    """A task that may use a cache by a role only, which the claimer has written out."""
    run, mounts = RunId(slugid.nice(), 0), [{"directory": "c", "cacheName": "role"}]
    task = {**definition({"command": [["true"]], "maxRunTime": 9, "mounts": mounts}), "scopes": ["assume:project:x"]}
    until = datetime.now(UTC) + timedelta(minutes=20)
    bench.records.claim(run, task, until, "here", "w-1", "{}", ["assume:project:x", *expanded])
    assert bench.start(run).wait() == 0
    return bench.result(run)


def test_a_role_gives_the_scopes_that_it_stands_for(bench: Bench) -> None:
    assert cache_of(bench, "generic-worker:cache:role").outcome.succeeded


def test_a_role_gives_no_other_scopes(bench: Bench) -> None:
    result = cache_of(bench, "generic-worker:cache:other")

    assert result.outcome.reason == "malformed-payload"
    assert "generic-worker:cache:role" in result.log
