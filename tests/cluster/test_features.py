"""What tasks in containers ask for, where the executor is in a container itself: paths, sockets, images, the daemon."""

import contextlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket
from docker.api.client import APIClient

from executor.docker.dind.conftest import client_image
from simulators.docker import busybox_image
from simulators.rfb import Viewer
from simulators.x_server import x_server, x_server_image

from .compose import LINGER_S, Cluster, until

__all__ = ["client_image"]
LOG = "public/logs/live_backing.log"
SOCKETS = "private/docker-worker/sockets.json"
SAVED = "public/dockerImage.tar"
WHITE = b"\xff\xff\xff"
KEY = ord("k")
DOCKER = """
docker run --rm $IMAGE sh -c 'echo inner; exit 7'; echo code $?
mkdir /w; cd /w; printf 'FROM %s\\nRUN echo built >/built\\n' $IMAGE >Dockerfile
docker build -q -t mine . >/dev/null 2>&1
docker run --rm -v data:/data mine sh -c 'cat /built; echo kept >/data/x'
docker run --rm -v data:/data mine cat /data/x
docker run --rm -v /:/host $IMAGE true 2>&1 | grep -c 'cannot be bound'; docker ps -aq | wc -l
docker run -d $IMAGE sleep 600 >/dev/null
"""


@pytest.fixture(scope="session")
def busybox(daemon: APIClient) -> str:
    return busybox_image(daemon)


def task_of(cluster: Cluster, image: Any, script: str, scopes: tuple[str, ...] = (), **payload: Any) -> str:
    return cluster.create({"image": image, "command": ["sh", "-c", script], **payload}, scopes=list(scopes))


def log_of(cluster: Cluster, task_id: str, resolution: str = "completed/completed") -> str:
    """The log of a task that ends so."""
    found = cluster.resolution(task_id)
    text = cluster.get(task_id, LOG).replace("\r\n", "\n")
    assert found == resolution, text
    return text


def announced(cluster: Cluster, task_id: str) -> dict[str, str]:
    """The addresses of a task's shell and displays."""
    until(lambda: cluster.runs(task_id)[0]["state"] == "running", "it runs")
    until(lambda: SOCKETS in cluster.names(task_id), "its sockets are announced")
    found: dict[str, str] = json.loads(cluster.get(task_id, SOCKETS))
    return found


def test_display_of_a_container_is_seen_and_typed_into(cluster: Cluster, daemon: APIClient) -> None:
    watch = f"{x_server(7)} DISPLAY=:7 xev -root -event keyboard | sed '/keysym.*, k)/q'"
    task_id = task_of(cluster, x_server_image(daemon), watch, features={"interactive": True})
    sockets = announced(cluster, task_id)
    (found,) = until(lambda: requests.get(sockets["displaysUrl"], timeout=30).json(), "there is a display")
    assert found == {"display": ":7.0", "width": 320, "height": 200}
    address = f"{sockets['displaySocketUrl']}?display={found['display']}"

    def seen() -> bool:
        with contextlib.closing(websocket.create_connection(address, timeout=30)) as screen:
            viewer = Viewer(lambda: screen.recv_data()[1], screen.send_binary)
            viewer.press(KEY)
            assert (viewer.width, viewer.height) == (320, 200)
            return WHITE in {pixel[:3] for pixel in viewer.pixels()}

    def over() -> bool:
        return cluster.runs(task_id)[0]["state"] != "running" or not seen()

    with contextlib.suppress(websocket.WebSocketException):  # the container has ended just now
        until(over, "the key arrives, and a container that nobody looks at any more ends", pause_s=2 * LINGER_S)
    assert "keysym" in log_of(cluster, task_id)


def test_shell_of_a_container_is_inside_of_it(cluster: Cluster, busybox: str) -> None:
    script = "until [ -e /over ]; do sleep 0.1; done; cat /over"
    task_id = task_of(cluster, busybox, script, features={"interactive": True})
    shell = websocket.create_connection(f"{announced(cluster, task_id)['shellSocketUrl']}", timeout=30)
    shell.send_binary(b"\x01echo from the shell >/over; exit\n")
    assert "from the shell" in log_of(cluster, task_id)
    shell.close()


def test_shell_of_a_native_task_is_its_user(cluster: Cluster) -> None:
    script = "until [ -e over ]; do sleep 0.1; done; cat over; id -un"
    task_id = cluster.create({"command": [["/bin/bash", "-c", script]], "features": {"interactive": True}})
    name = "private/generic-worker/shell.html"
    until(lambda: cluster.runs(task_id)[0]["state"] == "running", "it runs")
    until(lambda: name in cluster.names(task_id), "its shell is announced")
    page = requests.get(
        cluster.queue.buildSignedUrl("getArtifact", task_id, 0, name), timeout=30, allow_redirects=False
    )
    secret = page.headers["location"].rsplit("/shell/", 1)[1].split("/")[0].split("?")[0]
    shell = websocket.create_connection(f"ws://127.0.0.1:{cluster.gateway_port}/shell/{secret}", timeout=30)
    shell.send_binary(b"\x01id -un >over; exit\n")
    users = [line for line in log_of(cluster, task_id).splitlines() if line.startswith("task_")]
    assert len(users) == 2
    assert users[0] == users[1]
    shell.close()


def test_docker_in_a_task_reaches_nothing_but_its_own(
    cluster: Cluster, daemon: APIClient, client_image: str, busybox: str
) -> None:
    task_id = task_of(cluster, client_image, DOCKER, features={"dind": True}, env={"IMAGE": busybox})
    lines = log_of(cluster, task_id).splitlines()
    assert [line for line in lines if not line.startswith("[")][-6:] == ["inner", "code 7", "built", "kept", "1", "0"]
    until(lambda: not of_task(daemon, task_id), "its containers are gone")  # the task's own, after it is resolved


def of_task(daemon: APIClient, task_id: str) -> list[str]:
    return [each["Id"] for each in daemon.containers(all=True) if task_id in str(each["Labels"])]


def test_saved_container_is_the_image_of_the_next_task(cluster: Cluster, busybox: str) -> None:
    scopes = ("docker-worker:cache:kept-here",)
    task_id = task_of(
        cluster, busybox, "echo kept >/kept; echo cached >/c/file", scopes,
        features={"dockerSave": True}, cache={"kept-here": "/c"},
    )  # fmt: skip
    log_of(cluster, task_id)
    assert {SAVED, "public/cache/kept-here.tar"} <= set(cluster.names(task_id))
    image = {"type": "task-image", "taskId": task_id, "path": SAVED}
    after = task_of(cluster, image, "cat /kept", features={"chainOfTrust": True})
    assert "\nkept\n" in log_of(cluster, after)
    certificate = json.loads(cluster.get(after, "public/chain-of-trust.json"))
    assert certificate["environment"]["imageArtifactHash"].startswith("sha256:")


def test_artifacts_come_out_of_container_and_volume(cluster: Cluster, busybox: str, tmp_path: Path) -> None:
    script = "mkdir -p /out/sub; echo one >/out/a; echo two >/out/sub/b; echo three >/v/c; ln -s /etc/shadow /v/link"
    artifacts = {
        "public/out": {"type": "directory", "path": "/out"},
        "public/v": {"type": "volume", "path": "/v"},
        "public/none": {"type": "file", "path": "/nowhere"},
    }
    task_id = task_of(cluster, busybox, script, artifacts=artifacts)
    log_of(cluster, task_id)
    assert cluster.get(task_id, "public/out/sub/b") == "two\n"
    assert cluster.get(task_id, "public/v/c") == "three\n"
    cluster.download(task_id, tmp_path)
    found = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"root:" in data for data in found)


def test_image_that_is_an_artifact_is_loaded_once(cluster: Cluster, daemon: APIClient, busybox: str) -> None:
    archive = b"".join(daemon.get_image(busybox))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert "manifest.json" in tar.getnames()
    source = task_of(
        cluster, busybox, "until [ -e /image.tar ]; do sleep 0.1; done",
        artifacts={"public/image.tar": {"type": "file", "path": "/image.tar"}},
    )  # fmt: skip
    until(lambda: cluster.runs(source)[0]["state"] == "running", "it runs")
    (container,) = until(lambda: _containers(daemon, source), "its container runs")
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            member = tarfile.TarInfo("image.tar")
            member.size = len(archive)
            tar.addfile(member, io.BytesIO(archive))
        daemon.put_archive(container["Id"], "/", packed.getvalue())
    log_of(cluster, source)
    image = {"type": "task-image", "taskId": source, "path": "public/image.tar"}
    logs = [log_of(cluster, task_of(cluster, image, "echo runs")) for _ in range(2)]
    assert all("\nruns\n" in text for text in logs)
    assert [("Downloading" in text) for text in logs] == [True, False], logs


def _containers(daemon: APIClient, task_id: str) -> list[dict[str, Any]]:
    return [each for each in daemon.containers() if task_id in str(each["Labels"]) or task_id in str(each["Names"])]
