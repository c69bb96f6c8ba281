"""Shells and displays of a container on a whole worker: from an artifact's address to a prompt, or to pixels."""

import struct
import time
from collections.abc import Iterator

import pytest
import requests
import websocket

from simulators.docker import busybox, connect, daemon
from simulators.patience import until
from simulators.rfb import Viewer
from simulators.x_server import need, x_server, x_server_image
from taskward.core.ids import RunId

from .conftest import needs_root
from .stack import Stack

__all__ = ["busybox", "daemon"]

pytestmark = needs_root
PAGES = "private/docker-worker/"
PATIENCE_S = 20.0
READY, STDIN, STDOUT, STOPPED = b"\x64", b"\x00", 1, 200


@pytest.fixture(scope="module")
def worker(busybox: str) -> Iterator[Stack]:
    docker = {"networks_ready": 0, "interactive_min_s": 1, "interactive_linger_s": 1}
    with Stack({"claim_timeout_s": 60}, worker={"capacity": 1}, docker=docker) as stack:
        yield stack


def place(worker: Stack, run: RunId, page: str) -> str:
    """Where the artifact leads to."""

    def location() -> str | None:
        url = worker.client().buildSignedUrl("getArtifact", run.task_id, 0, PAGES + page)
        return requests.get(url, allow_redirects=False, timeout=10).headers.get("Location")

    return str(until(location, "the page is published")).partition("?")[0].rstrip("/")


def test_both_protocols_lead_into_the_container_which_stays_for_them(worker: Stack, busybox: str) -> None:
    run = worker.create(["sh", "-c", "echo mine > /mine"], image=busybox, features={"interactive": True})
    url = place(worker, run, "shell.html").replace("http", "ws", 1)

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


def test_a_display_is_seen_from_outside_and_keeps_its_container(worker: Stack) -> None:
    need("x11vnc", "socat", "xdpyinfo")
    command = ["sh", "-c", f"{x_server(7)} while [ ! -e /tmp/seen ]; do sleep 0.1; done"]
    run = worker.create(command, image=x_server_image(connect()), features={"interactive": True})
    place(worker, run, "display.html")
    sockets = requests.get(place(worker, run, "sockets.json"), timeout=10).json()
    listed = until(lambda: requests.get(sockets["displaysUrl"], timeout=10).json(), "the X server runs")
    assert listed == [{"display": ":7.0", "width": 320, "height": 200}]

    view = websocket.create_connection(f"{sockets['displaySocketUrl']}?display=:7.0", timeout=PATIENCE_S)
    viewer = Viewer(lambda: bytes(view.recv_data()[1]), view.send_binary)
    shell = websocket.create_connection(f"{sockets['shellSocketUrl']}/shell.sock?command=touch&command=/tmp/seen")
    while shell.recv_data()[1][0] != STOPPED:
        pass
    shell.close(timeout=1)
    time.sleep(2)  # longer than it would stay by itself
    assert b"\xff\xff\xff" in {pixel[:3] for pixel in viewer.pixels()}
    view.close(timeout=1)

    assert worker.resolution(run) == ("completed", "completed")


def test_the_bulk_log_is_word_for_word_the_live_log_and_the_container_is_saved(worker: Stack, busybox: str) -> None:
    features = {"bulkLog": True, "dockerSave": True}
    run, resolution = worker.run(["sh", "-c", "echo hello"], image=busybox, features=features)

    assert resolution == ("completed", "completed"), worker.log(run)
    bulk, live = worker.get(run, "public/logs/terminal_bulk.log.gz"), worker.get(run, "public/logs/live_backing.log")
    assert bulk == live
    assert b"hello" in bulk
    assert worker.artifacts(run)["public/dockerImage.tar"]["contentType"] == "application/x-tar"
    assert worker.get(run, "public/dockerImage.tar")[257:262] == b"ustar"
