"""``payload.encryptedEnv`` of tasks in containers: docker-worker's order of precedence, words and resolution."""

from typing import Any

import pytest

from executor.bench import Result
from executor.docker.yard import Yard, task_output
from simulators.decrypter import Answer, SimulatedDecrypter, opens
from taskward.signer.decrypter import protocol

pytestmark = pytest.mark.root
VALUE = "s3cret-value"


def run(yard: Yard, answer: Answer, script: str, enabled: bool = True, **payload: Any) -> Result:
    yard.use(executor={"enable_encrypted_env": enabled})
    with SimulatedDecrypter(yard.bench.layout.decrypter_socket, lambda: answer):
        return yard.run(script, encryptedEnv=["b3BlbiBtZQ=="], **payload)


def test_values_are_among_the_payloads_variables_and_below_the_reserved_ones(yard: Yard) -> None:
    script = 'echo "$SECRET"; echo "$OWN"; echo "$TASKCLUSTER_ROOT_URL"'
    values = opens(SECRET=f"{VALUE}\nsecond line", TASKCLUSTER_ROOT_URL="https://evil.example.com")
    result = run(yard, values, script, env={"OWN": "mine"})

    assert result.outcome.succeeded, result.log
    assert task_output(result) == [VALUE, "second line", "mine", yard.purges.url]
    assert f"{VALUE}\r\nsecond line\r\n" in (result.log_directory / "live.log").read_bytes().decode()


def test_a_value_is_in_no_file_and_no_container_that_is_left(yard: Yard) -> None:
    result = run(yard, opens(SECRET="never-printed"), 'test "$SECRET"', features={"chainOfTrust": True})

    assert result.outcome.succeeded, result.log
    files = [path for path in yard.bench.state_dir.rglob("*") if path.is_file()]
    assert not [path for path in files if b"never-printed" in path.read_bytes()]
    assert not yard.left_over(result.record.run)


def test_a_message_at_fault_fails_the_task_before_it_starts(yard: Yard) -> None:
    text = "secret data violation -- the end time in the env payload is in the past; incidentId: 1-2-3"
    result = run(yard, (protocol.VIOLATION, text.encode()), "echo ran")

    assert (result.outcome.state, result.outcome.reason) == ("failed", "failed")
    assert f"[taskcluster:error] Docker configuration could not be created. {text}" in result.log
    assert "ran" not in task_output(result)


def test_without_a_key_the_task_is_refused(yard: Yard) -> None:
    result = run(yard, opens(SECRET=VALUE), "echo ran", enabled=False)

    assert result.outcome.reason == "malformed-payload"
    assert "[executor] enable_encrypted_env" in result.log
