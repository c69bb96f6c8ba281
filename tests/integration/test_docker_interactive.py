"""Shells in a container on a whole worker: from the artifact's address to a prompt, by both protocols."""

import struct
from collections.abc import Iterator

import pytest
import requests
import websocket

from simulators.docker import busybox, daemon
from taskward.core.ids import RunId

from .conftest import needs_root
from .stack import Stack, until

__all__ = ["busybox", "daemon"]

pytestmark = needs_root
ARTIFACT = "private/docker-worker/shell.html"
PATIENCE_S = 20.0
READY, STDIN, STDOUT, STOPPED = b"\x64", b"\x00", 1, 200


@pytest.fixture(scope="module")
def worker(busybox: str) -> Iterator[Stack]:
    docker = {"networks_ready": 0, "interactive_min_s": 1, "interactive_linger_s": 1}
    with Stack({"claim_timeout_s": 60}, worker={"capacity": 1}, docker=docker) as stack:
        yield stack


def socket_url(worker: Stack, run: RunId) -> str:
    """Where the page finds its shell."""

    def location() -> str | None:
        url = worker.client().buildSignedUrl("getArtifact", run.task_id, 0, ARTIFACT)
        return requests.get(url, allow_redirects=False, timeout=10).headers.get("Location")

    page = str(until(location, "the shell is published"))
    return page.partition("?")[0].rstrip("/").replace("http", "ws", 1)


def test_both_protocols_lead_into_the_container_which_stays_for_them(worker: Stack, busybox: str) -> None:
    run = worker.create(["sh", "-c", "echo mine > /mine"], image=busybox, features={"interactive": True})
    url = socket_url(worker, run)

    second = websocket.create_connection(url, timeout=PATIENCE_S)
    second.send_binary(b"\x02" + struct.pack("<HH", 33, 99))
    second.send_binary(b"\x01" + b"while [ \"$(stty size)\" != '33 99' ]; do :; done; echo size $(cat /mine); exit\r")
    printed = b""
    while b"size mine" not in printed:
        printed += second.recv_data()[1]
    second.close(timeout=1)

    first = websocket.create_connection(f"{url}/shell.sock?tty=false&command=cat&command=/mine", timeout=PATIENCE_S)
    told: list[bytes] = []
    while not told or told[-1][0] != STOPPED:
        told.append(first.recv_data()[1])
    first.close(timeout=1)

    assert told[0] == READY
    assert b"".join(each[1:] for each in told if each[0] == STDOUT) == b"mine\n"
    assert told[-1][1] == 0
    assert worker.resolution(run) == ("completed", "completed")
    assert url.rpartition("/")[2] not in worker.log(run)


def test_the_bulk_log_is_word_for_word_the_live_log_and_the_container_is_saved(worker: Stack, busybox: str) -> None:
    features = {"bulkLog": True, "dockerSave": True}
    run, resolution = worker.run(["sh", "-c", "echo hello"], image=busybox, features=features)

    assert resolution == ("completed", "completed"), worker.log(run)
    bulk, live = worker.get(run, "public/logs/terminal_bulk.log.gz"), worker.get(run, "public/logs/live_backing.log")
    assert bulk == live
    assert b"hello" in bulk
    assert worker.artifacts(run)["public/dockerImage.tar"]["contentType"] == "application/x-tar"
    assert worker.get(run, "public/dockerImage.tar")[257:262] == b"ustar"
