"""Tasks in containers on a whole worker: live log, artifacts, signatures, a killed executor, and what is left."""

import hashlib
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from docker.api.client import APIClient

from simulators.docker import busybox, daemon
from simulators.patience import until
from taskward.executor.docker import labels

from .conftest import needs_root
from .stack import Stack, send

__all__ = ["busybox", "daemon"]

pytestmark = needs_root


@pytest.fixture(scope="module")
def worker(busybox: str) -> Iterator[Stack]:
    with Stack({"claim_timeout_s": 60}, worker={"capacity": 2}, docker={"networks_ready": 1}) as stack:
        yield stack


def containers(worker: Stack, daemon: APIClient) -> list[dict[str, Any]]:
    label = f"{labels.WORKER}={labels.worker_id(worker.state_dir)}"
    found: list[dict[str, Any]] = daemon.containers(all=True, filters={"label": label})
    return found


def script(text: str) -> list[str]:
    return ["sh", "-c", text]


def test_a_container_is_followed_signed_and_its_files_are_kept(worker: Stack, busybox: str, daemon: APIClient) -> None:
    run = worker.create(
        script("echo first; while [ ! -e /go ]; do sleep 0.05; done; echo kept > /a.txt; echo last"),
        image=busybox,
        features={"chainOfTrust": True},
        artifacts={"public/a.txt": {"type": "file", "path": "/a.txt"}},
    )
    until(lambda: worker.artifacts(run).get("public/logs/live.log"), "live log is published")
    url = worker.client().buildUrl("getArtifact", run.task_id, 0, "public/logs/live.log")
    with requests.get(url, stream=True, timeout=30) as answer:
        lines = answer.iter_lines(chunk_size=1)
        assert b"first" in (line.rstrip(b"\r") for line in lines)
        (container,) = containers(worker, daemon)
        daemon.exec_start(daemon.exec_create(container["Id"], ["touch", "/go"])["Id"])
        rest = list(lines)

    assert worker.resolution(run) == ("completed", "completed")
    assert b"last" in rest
    assert rest[-1].endswith(b" seconds")
    assert worker.get(run, "public/a.txt") == b"kept\n"
    chain = json.loads(worker.get(run, "public/chain-of-trust.json"))
    assert chain["environment"] == {"imageHash": daemon.inspect_image(busybox)["Id"]}
    assert chain["artifacts"]["public/a.txt"] == {"sha256": hashlib.sha256(b"kept\n").hexdigest()}


def test_a_canceled_container_dies_within_the_next_look_at_the_queue(
    worker: Stack, busybox: str, daemon: APIClient
) -> None:
    run = worker.create(script("trap '' TERM; while :; do sleep 1000; done"), image=busybox)
    until(lambda: containers(worker, daemon), "the container is there")

    worker.client().cancelTask(run.task_id)

    until(lambda: not containers(worker, daemon), "the container is gone", 10)
    assert worker.resolution(run) == ("exception", "canceled")


def test_a_killed_executor_leaves_no_container_and_the_queue_runs_the_task_again(
    worker: Stack, busybox: str, daemon: APIClient
) -> None:
    run = worker.create(script("echo run $RUN_ID; [ $RUN_ID = 1 ] || sleep 1000"), image=busybox)
    until(lambda: any(each["State"] == "running" for each in containers(worker, daemon)), "the container runs")
    (first,) = containers(worker, daemon)

    send(worker.pids("executor"), signal.SIGKILL)

    assert worker.resolution(run) == ("exception", "worker-shutdown")
    again = type(run)(run.task_id, 1)
    assert worker.resolution(again) == ("completed", "completed")
    assert "run 1" in worker.log(again)
    until(lambda: not containers(worker, daemon), "no container is left")
    assert first["Id"] not in {each["Id"] for each in daemon.containers(all=True)}


def test_a_worker_that_is_stopped_leaves_nothing_at_the_daemon(worker: Stack, daemon: APIClient) -> None:
    worker.stop()

    label = f"{labels.WORKER}={labels.worker_id(worker.state_dir)}"
    assert containers(worker, daemon) == []
    assert daemon.networks(filters={"label": label}) == []
