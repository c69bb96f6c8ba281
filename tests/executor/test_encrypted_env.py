"""``payload.encryptedEnv`` in the executor: where values go, where they never are, what refusals make of a run."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor.bench import Bench, Result, shell
from simulators.decrypter import Answer, SimulatedDecrypter, opens
from taskward.core.settings import Settings
from taskward.executor.features import encrypted_env
from taskward.executor.features.encrypted_env import EncryptedEnv
from taskward.executor.payload import Payload
from taskward.signer.decrypter import protocol

VALUE = "s3cret-value"
MESSAGES = ["b3BlbiBtZQ=="]


@pytest.fixture(autouse=True)
def on(bench: Bench) -> None:
    bench.configure("executor", enable_encrypted_env=True)


def run(bench: Bench, answer: Callable[[], Answer], script: str = "true", **payload: Any) -> Result:
    with SimulatedDecrypter(bench.layout.decrypter_socket, answer) as decrypter:
        result = bench.run(shell(script), **{"encryptedEnv": MESSAGES, **payload})
        assert {each["taskId"] for each in decrypter.asked} <= {result.record.run.task_id}
        assert all(each.keys() == {"taskId", "runId"} for each in decrypter.asked)
    return result


def refuse(text: str) -> Answer:
    return protocol.VIOLATION, text.encode()


def test_values_are_in_the_tasks_environment_beside_what_it_sets_itself(bench: Bench) -> None:
    lines = "a\nb\r\n=ü ☃"
    result = run(
        bench, lambda: opens(SECRET=VALUE, LINES=lines, HOME="/x"), 'echo "$SECRET-$OWN-$HOME-"; echo "$LINES"',
        env={"OWN": "mine"},
    )  # fmt: skip

    assert result.outcome.succeeded, result.log
    assert f"{VALUE}-mine-/x-\na\nb\r\n=ü ☃\n" in (result.log_directory / "live.log").read_bytes().decode()


def test_values_do_not_replace_what_the_worker_sets(bench: Bench) -> None:
    result = run(bench, lambda: opens(TASKCLUSTER_ROOT_URL="https://evil.example.com"), "echo $TASKCLUSTER_ROOT_URL")

    assert "https://tc.example.com" in result.output


def test_a_value_is_in_no_file_of_the_worker_and_not_in_redis(bench: Bench) -> None:
    payload = {
        "features": {"chainOfTrust": True, "resourceMonitor": True},
        "artifacts": [{"type": "file", "path": "x"}],
    }
    result = run(bench, lambda: opens(SECRET=VALUE), 'test "$SECRET" && touch x', **payload)

    assert result.outcome.succeeded, result.log
    assert "x" in result.entries
    found = [path for path in bench.state_dir.rglob("*") if path.is_file() and VALUE.encode() in path.read_bytes()]
    assert not found
    assert VALUE not in dump(bench)
    assert VALUE not in repr(result.record)


def dump(bench: Bench) -> str:
    """Everything that Redis holds."""
    redis, found = bench.redis, []
    for key in redis.scan_iter():
        found.append(repr((key, redis.dump(key), redis.hgetall(key) if redis.type(key) == b"hash" else None)))
    assert found
    return "\n".join(found)


def test_a_value_is_in_no_argument_and_in_the_environment_of_the_tasks_processes_only(bench: Bench) -> None:
    with SimulatedDecrypter(bench.layout.decrypter_socket, lambda: opens(SECRET=VALUE)):
        claimed = bench.claim({"command": shell("echo up; sleep 20"), "maxRunTime": 20, "encryptedEnv": MESSAGES})
        job = bench.start(claimed)
        bench.wait_for_line(claimed, "up\n")
        holders = {path.parent.name for path in having(VALUE)}
        owners = {Path(f"/proc/{pid}/environ").stat().st_uid for pid in holders}
        workdirs = {b"TASK_WORKDIR=" in Path(f"/proc/{pid}/environ").read_bytes() for pid in holders}
        bench.records.abort(claimed, "canceled")
        assert job.wait() == 0

    assert holders
    assert workdirs == {True}
    assert len(owners) == 1
    assert str(job.pid) not in holders


def having(value: str) -> list[Path]:
    found = []
    for name in ("cmdline", "environ"):
        for path in Path("/proc").glob(f"[0-9]*/{name}"):
            try:
                if value.encode() in path.read_bytes():
                    found.append(path)
            except OSError:
                continue
    assert all(path.name == "environ" for path in found)
    return found


def test_a_message_at_fault_makes_the_payload_malformed_in_docker_workers_words(bench: Bench) -> None:
    text = "secret data violation -- the version of the message is not supported; incidentId: 1-2-3"
    result = run(bench, lambda: refuse(text), "echo ran")

    assert (result.outcome.state, result.outcome.reason) == ("exception", "malformed-payload")
    assert f"[taskcluster:error] {text}\n" in result.log
    assert "ran" not in result.output


def test_in_a_container_the_task_fails_as_docker_worker_said() -> None:
    outcome = encrypted_env._outcome(_payload(docker=object()), "secret data violation -- x; incidentId: y")

    assert (outcome.state, outcome.reason) == ("failed", "failed")
    assert outcome.message == "Docker configuration could not be created. secret data violation -- x; incidentId: y"


def _payload(**changes: Any) -> Payload:
    parsed = Payload.parse("A", {"command": [["true"]], "maxRunTime": 1, "env": {"A": VALUE}}, 10)
    return Payload(**{**vars(parsed), **changes})


def test_a_payload_that_is_shown_by_mistake_shows_no_value() -> None:
    assert VALUE not in repr(_payload())


def test_without_a_key_the_task_is_refused_and_told_who_can_change_that(bench: Bench) -> None:
    bench.configure("executor", enable_encrypted_env=False)
    result = run(bench, lambda: opens(SECRET=VALUE), "echo ran")

    assert result.outcome.reason == "malformed-payload"
    assert "requires feature Encrypted Environment, which is not enabled on this worker pool" in result.log
    assert "[executor] enable_encrypted_env" in result.log
    assert "ran" not in result.output


def test_off_is_the_default() -> None:
    told = {"taskcluster": {"root_url": "https://x", "client_id": "x", "access_token_file": "/x"},
            "worker": {"task_queue_id": "p/q", "worker_group": "g", "worker_id": "w", "state_dir": "/x"}}  # fmt: skip
    assert not Settings.parse(told, "x").executor.enable_encrypted_env


@pytest.mark.parametrize("none", [{}, {"encryptedEnv": []}])
def test_a_task_without_messages_asks_nobody(bench: Bench, none: dict[str, Any]) -> None:
    with SimulatedDecrypter(bench.layout.decrypter_socket, lambda: opens(SECRET=VALUE)) as decrypter:
        result = bench.run(shell("echo ${SECRET:-none}"), **none)

    assert result.output == ["none"]
    assert not decrypter.asked


def test_a_decrypter_that_comes_up_again_is_asked_again(bench: Bench) -> None:
    answers = iter([None, (protocol.LATER, b"queue-answer: x"), opens(SECRET=VALUE)])
    result = run(bench, lambda: next(answers), 'echo "$SECRET"')

    assert result.output == [VALUE]


def test_a_decrypter_that_stays_away_is_an_error_of_the_worker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encrypted_env, "_GIVE_UP_AFTER_S", 0.0)
    result = bench.run(shell("echo ran"), encryptedEnv=MESSAGES)

    assert result.outcome.reason == "internal-error"
    assert "payload.encryptedEnv cannot be decrypted: the decrypter at " in result.log
    assert "ran" not in result.output


def test_a_run_that_the_decrypter_does_not_take_for_ours_is_an_error_of_the_worker(bench: Bench) -> None:
    result = run(bench, lambda: (protocol.REFUSED, b"other-worker: the run belongs to another"), "echo ran")

    assert result.outcome.reason == "internal-error"
    assert "other-worker" in result.log


def test_a_task_that_is_canceled_meanwhile_waits_for_no_decrypter(bench: Bench) -> None:
    hold = threading.Event()

    def hang() -> Answer:
        hold.wait(20)
        return None

    with SimulatedDecrypter(bench.layout.decrypter_socket, hang) as decrypter:
        claimed = bench.claim({"command": shell("echo ran"), "maxRunTime": 9, "encryptedEnv": MESSAGES})
        job = bench.start(claimed)
        bench.wait_until(lambda: bool(decrypter.asked))
        bench.records.abort(claimed, "canceled")
        assert job.wait() == 0
        hold.set()

    assert bench.result(claimed).outcome.reason == "canceled"


def test_it_comes_after_what_may_end_the_task_and_before_what_sees_the_environment() -> None:
    from taskward.executor import features
    from taskward.executor.features.interactive import Interactive
    from taskward.executor.features.superseder import Superseder

    order = features.ORDER
    assert order.index(Superseder) < order.index(EncryptedEnv) < order.index(Interactive)
