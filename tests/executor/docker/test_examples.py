"""The examples of the documentation do what their comments say, here with the tests' own image."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from executor.bench import Result
from executor.docker.yard import Yard, task_output

pytestmark = pytest.mark.root

EXAMPLES = Path(__file__).parents[3] / "docs/examples/docker"


def run(yard: Yard, name: str) -> Result:
    written: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yml").read_text())
    payload = written.get("payload", written)
    return yard.bench.run_payload({**payload, "image": yard.image}, scopes=written.get("scopes", []))


def test_hello(yard: Yard) -> None:
    assert "hello from run 0 of task" in run(yard, "hello").log


def test_artifacts(yard: Yard) -> None:
    result = run(yard, "artifacts")

    assert result.outcome.succeeded
    assert {entry.name for entry in result.index.entries} == {
        "public/results.json", "public/report/pages/index.html", "public/progress/started.txt"
    }  # fmt: skip


def test_a_cache_is_found_by_the_second_run(yard: Yard) -> None:
    assert task_output(run(yard, "cache")) == ["run number 1"]
    assert task_output(run(yard, "cache")) == ["run number 2"]


def test_retry(yard: Yard) -> None:
    assert run(yard, "retry").outcome.reason == "intermittent-task"
