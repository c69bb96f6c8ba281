"""Tasks in containers on a whole worker: what their payloads ask for, from the queue to the artifacts."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import taskcluster

from simulators.docker import busybox, daemon
from taskward.executor.docker import labels

from .conftest import needs_root
from .stack import QUEUE, Stack

__all__ = ["busybox", "daemon"]

pytestmark = needs_root


@pytest.fixture(scope="module")
def worker(busybox: str) -> Iterator[Stack]:
    """One that has containers; nothing of it stays at the daemon."""
    with Stack({"claim_timeout_s": 60}, worker={"capacity": 2}, docker={"networks_ready": 1}) as stack:
        yield stack
    label = f"label={labels.WORKER}={labels.worker_id(stack.state_dir)}"
    listed = subprocess.run(["docker", "network", "ls", "-q", "-f", label], capture_output=True, text=True, check=True)
    for network in listed.stdout.split():
        subprocess.run(["docker", "network", "rm", network], check=True, capture_output=True)


def test_a_role_of_taskcluster_opens_a_cache(worker: Stack, busybox: str) -> None:
    worker.client(taskcluster.Auth).createRole(
        "project:twb", {"description": "", "scopes": [f"docker-worker:cache:twb-whole:{QUEUE}"]}
    )
    command, cache = ["sh", "-c", "echo x >> /c/n; wc -l < /c/n"], {"twb-whole": "/c"}

    for number in ("1", "2"):
        run, resolution = worker.run(command, image=busybox, cache=cache, task={"scopes": ["assume:project:twb"]})
        assert resolution == ("completed", "completed"), worker.log(run)
        assert number in worker.log(run).splitlines()


def test_without_the_scope_the_task_fails_and_says_so(worker: Stack, busybox: str) -> None:
    run, resolution = worker.run(["true"], image=busybox, cache={"twb-whole": "/c"})

    assert resolution == ("failed", "failed")
    assert "Missing: docker-worker:cache:twb-whole" in worker.log(run)


def test_a_malformed_payload_leaves_a_readable_log(worker: Stack) -> None:
    run, resolution = worker.run(["true"], image={"type": "docker"}, features={"localLiveLog": False, "tardis": True})

    log = worker.log(run)
    assert resolution == ("exception", "malformed-payload")
    assert "`task.payload` format is invalid json schema errors:" in log
    assert "Additional property tardis is not allowed" in log


def test_lint_says_beforehand_what_the_worker_says_then(worker: Stack, busybox: str, tmp_path: Path) -> None:
    payload = {"image": busybox, "command": ["true"], "maxRunTime": 60, "features": {"taskclusterProxy": True}}
    file = tmp_path / "task.yml"
    file.write_text(json.dumps({"taskQueueId": QUEUE, "payload": payload}))

    foretold = worker.command("lint", str(file), "--json")
    run, resolution = worker.run(["true"], image=busybox, features={"taskclusterProxy": True})

    (told,) = json.loads(foretold.stdout)
    assert [problem["text"] in worker.log(run) for problem in told["problems"]] == [True] * len(told["problems"])
    assert (resolution[0] == "completed") is told["ok"]


def test_a_container_calls_taskcluster_with_its_tasks_scopes_and_no_credential(worker: Stack, busybox: str) -> None:
    worker.client(taskcluster.Secrets).set("twb", {"secret": {"a": "b"}, "expires": taskcluster.fromNow("1 hour")})
    ask = "wget -q -O - $TASKCLUSTER_PROXY_URL{} || echo refused"
    command = ["sh", "-c", "; ".join(ask.format(f"/{each}") for each in (
        "queue/v1/task/$TASK_ID", "api/secrets/v1/secret/twb", "api/secrets/v1/secret/other", "credentials",
    ))]  # fmt: skip
    features, scopes = {"taskclusterProxy": True}, {"scopes": ["secrets:get:twb"]}
    run, resolution = worker.run(command, image=busybox, features=features, task=scopes)

    log = worker.log(run)
    assert resolution == ("completed", "completed"), log
    assert '"metadata"' in log
    assert '"secret":{"a":"b"}' in log.replace(" ", "")
    assert log.splitlines().count("refused") == 2
