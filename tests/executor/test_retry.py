"""``onExitStatus.retry``: generic-worker's own cases."""

from typing import Any

import pytest

from executor.bench import Bench, shell


@pytest.mark.parametrize(
    ("code", "retry", "state", "reason"),
    [
        (123, [123], "exception", "intermittent-task"),
        (456 % 256, [123, 456 % 256, 7], "exception", "intermittent-task"),
        (123, [124], "failed", "failed"),
        (123, [], "failed", "failed"),
        (0, [123], "completed", "completed"),
        (0, [], "completed", "completed"),
    ],
)
def test_listed_exit_codes_are_intermittent(bench: Bench, code: int, retry: list[int], state: str, reason: str) -> None:
    result = bench.run(shell(f"exit {code}"), onExitStatus={"retry": retry})

    assert (result.outcome.state, result.outcome.reason) == (state, reason)
    text = f"task appears to have failed intermittently - exit code {code} found in task payload.onExitStatus list"
    assert (f"[taskcluster:error] {text}\n" in result.log) is (reason == "intermittent-task")


@pytest.mark.parametrize("code", [-1, 0, 1.5, "1", None])
def test_what_is_no_failing_exit_code_cannot_be_listed(bench: Bench, code: Any) -> None:
    result = bench.run(shell("exit 1"), onExitStatus={"retry": [code]})

    assert result.outcome.reason == "malformed-payload"
    assert "onExitStatus.retry.0: " in result.log


def test_only_the_failing_commands_code_counts(bench: Bench) -> None:
    result = bench.run([["bash", "-c", "exit 1"], ["bash", "-c", "exit 5"]], onExitStatus={"retry": [5]})

    assert result.outcome.reason == "failed"
