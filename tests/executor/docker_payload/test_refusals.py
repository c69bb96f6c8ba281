"""A payload that is refused leaves a log that says why, and no container is made for it."""

import json
from typing import Any

import pytest

from executor.bench import Bench, Result
from executor.docker_payload.asking import MINIMAL


@pytest.fixture
def machine(bench: Bench) -> Bench:
    """A worker whose Docker daemon nobody can reach: it is not needed here."""
    bench.use(docker={"host": f"unix://{bench.state_dir}/no.sock"})
    return bench


LOGS = ("public/logs/live.log", "public/logs/live_backing.log")


def refused(machine: Bench, payload: dict[str, Any]) -> Result:
    result = machine.run_payload({**MINIMAL, **payload})
    assert (result.outcome.state, result.outcome.reason) == ("exception", "malformed-payload")
    return result


def test_the_problems_are_told_as_a_list(machine: Bench) -> None:
    result = refused(machine, {"maxRunTime": "60", "artefacts": {}})

    before, _, after = result.log.replace("[taskcluster:error] ", "").partition(
        "`task.payload` format is invalid json schema errors:\n"
    )
    assert "Task ID: " in before
    problems, _ = json.JSONDecoder().raw_decode("".join(line for line in after.splitlines()))
    assert sorted(problems) == [
        "(root): Additional property artefacts is not allowed; did you mean artifacts?",
        'maxRunTime: Invalid type. Expected: integer (given: "60")',
    ]
    assert (result.index.live_log_name, result.index.backing_log_name) == LOGS


def test_an_artifact_that_outlives_its_task_is_told_in_docker_workers_words(machine: Bench) -> None:
    result = refused(
        machine, {"artifacts": {"public/x": {"type": "file", "path": "/x", "expires": "2999-01-01T00:00:00Z"}}}
    )

    assert "Artifact expiration for 'public/x' must not be greater than task expiration." in result.log


@pytest.mark.parametrize("name", ["public/\u00fc.log", "public/../x.log", "n" * 1025])
def test_a_log_that_no_artifact_can_be_is_told_in_the_usual_one(machine: Bench, name: str) -> None:
    result = refused(machine, {"log": name})

    assert "log: no artifact can be named" in result.log
    assert (result.index.live_log_name, result.index.backing_log_name) == LOGS


def test_a_feature_that_nobody_knows_is_told_in_a_log(machine: Bench) -> None:
    result = refused(machine, {"features": {"timeTravel": True, "localLiveLog": False}})

    assert "Additional property timeTravel is not allowed" in result.log
    assert result.index.backing_log_name == "public/logs/live_backing.log"
