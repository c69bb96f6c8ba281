"""The process: start, restart after a crash, addresses, files, and pages."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import taskcluster
import taskcluster.aio

from simulators.devcluster import WORKER, DevCluster, task_definition
from taskward.devcluster.errors import DevclusterError
from taskward.devcluster.identifiers import new_slug
from taskward.devcluster.settings import Settings

S3 = {"storageType": "s3", "contentType": "text/plain", "expires": taskcluster.fromNowJSON("1 day")}


def test_file_with_the_root_credentials_is_private(server: DevCluster) -> None:
    path = server.state_dir / "devcluster.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(json.loads(path.read_text())) == {"rootUrl", "clientId", "accessToken"}


def test_nothing_in_the_state_folder_is_readable_by_others(server: DevCluster, claim: dict[str, Any]) -> None:
    assert claim
    files = [path for path in server.state_dir.rglob("*") if not path.is_socket()]
    assert server.state_dir / "devcluster.sqlite" in files
    assert [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_nothing_is_lost_by_a_crash(tmp_path: Path) -> None:
    first = DevCluster.start(tmp_path)
    queue = first.client(taskcluster.Queue)
    running, waiting = new_slug(), new_slug()
    queue.createTask(running, task_definition())
    claim = queue.claimWork("proj-test/ci", {**WORKER, "tasks": 1})["tasks"][0]
    queue.createTask(waiting, task_definition())
    put_url = queue.createArtifact(running, 0, "public/x", S3)["putUrl"]
    requests.put(put_url, data=b"kept", timeout=10)
    first.kill()
    with DevCluster.start(tmp_path) as second:
        assert (second.root_url, second.access_token) == (first.root_url, first.access_token)
        queue = second.client(taskcluster.Queue)
        assert requests.get(queue.buildUrl("getArtifact", running, 0, "public/x"), timeout=10).content == b"kept"
        assert requests.put(put_url, data=b"new", timeout=10).status_code == 200
        worker = second.client(taskcluster.Queue, claim["credentials"])
        assert worker.reportCompleted(running, 0)["status"]["state"] == "completed"
        claimed = queue.claimWork("proj-test/ci", {**WORKER, "tasks": 2})["tasks"]
        assert [each["status"]["taskId"] for each in claimed] == [waiting]


def test_storage_is_reached_as_the_cluster_is(tmp_path: Path) -> None:
    """Through a port that a container publishes on loopback, the root URL's host is not known."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with DevCluster.start(tmp_path, port=port, root_url=f"http://localhost:{port}") as cluster:
        queue = cluster.client(taskcluster.Queue, rootUrl=f"http://127.0.0.1:{port}")
        task_id = new_slug()
        queue.createTask(task_id, task_definition())
        queue.claimWork("proj-test/ci", {**WORKER, "tasks": 1})
        put_url = queue.createArtifact(task_id, 0, "public/x", S3)["putUrl"]
        assert put_url.startswith(f"http://127.0.0.1:{port}/s3/")
        requests.put(put_url, data=b"x", timeout=10)
        inside = {"Host": f"devcluster:{port}"}
        url = queue.buildUrl("getArtifact", task_id, 0, "public/x")
        found = requests.get(url, headers=inside, timeout=10, allow_redirects=False)
        assert found.headers["Location"].startswith(f"http://localhost:{port}/s3/")


def test_killed_parent_takes_its_worker_along(tmp_path: Path) -> None:
    cluster = DevCluster.start(tmp_path)
    os.kill(cluster.pid, signal.SIGKILL)
    with DevCluster.start(tmp_path) as again:
        assert again.root_url == cluster.root_url
    cluster.kill()


def test_claims_expire_by_themselves(tmp_path: Path) -> None:
    with DevCluster.start(tmp_path, claim_timeout_s=0.2, resolver_poll_s=0.1, claim_wait_s=5) as cluster:
        queue = cluster.client(taskcluster.Queue)
        task_id = new_slug()
        queue.createTask(task_id, task_definition())
        queue.claimWork("proj-test/ci", {**WORKER, "tasks": 1})
        again = queue.claimWork("proj-test/ci", {**WORKER, "tasks": 1})["tasks"]
        assert [(each["status"]["taskId"], each["runId"]) for each in again] == [(task_id, 1)]


def test_second_process_on_the_same_state_is_refused(server: DevCluster) -> None:
    command = [sys.executable, "-m", "taskward.devcluster", "--state-dir", str(server.state_dir)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 2
    assert "in use by another devcluster" in second.stderr
    assert (server.state_dir / "devcluster.json").exists()


def test_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "taskward.devcluster", "--state-dir", str(tmp_path), "--port", str(port)]
        failed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert failed.returncode == 2
    assert f"port {port}" in failed.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "8.8.8.8", "10.0.0.1", "::"])
def test_only_loopback_is_listened_on(tmp_path: Path, host: str) -> None:
    with pytest.raises(DevclusterError, match="loopback only"):
        Settings.parse(["--state-dir", str(tmp_path), "--host", host])


def test_private_network_must_be_allowed_and_a_public_one_never_is(tmp_path: Path) -> None:
    arguments = ["--state-dir", str(tmp_path), "--allow-network", "--host"]
    assert Settings.parse([*arguments, "172.18.0.2"]).host == "172.18.0.2"
    assert Settings.parse([*arguments, "0.0.0.0"]).host == "0.0.0.0"
    with pytest.raises(DevclusterError, match="public"):
        Settings.parse([*arguments, "8.8.8.8"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--clam-timeout-s", "5"],
        ["--claim-timeout", "5"],
        ["--threads", "x"],
        ["--claim-wait-s", "-1"],
        ["--port", "70000"],
    ],
)
def test_unknown_and_malformed_options_are_refused(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        Settings.parse(["--state-dir", str(tmp_path), *arguments])
    assert arguments[0] in capsys.readouterr().err


def test_asynchronous_client_works_as_well(server: DevCluster, queue_id: str) -> None:
    async def whole_life() -> str:
        async with taskcluster.aio.createSession() as session:
            options = {"rootUrl": server.root_url, "credentials": server.credentials}
            queue: Any = taskcluster.aio.Queue(options, session=session)
            task_id = new_slug()
            await queue.createTask(task_id, task_definition(taskQueueId=queue_id))
            claim = (await queue.claimWork(queue_id, {**WORKER, "tasks": 1}))["tasks"][0]
            own: Any = taskcluster.aio.Queue({**options, "credentials": claim["credentials"]}, session=session)
            await own.reclaimTask(task_id, 0)
            await own.createArtifact(task_id, 0, "public/x", S3)
            assert len((await queue.listArtifacts(task_id, 0))["artifacts"]) == 1
            state: str = (await own.reportCompleted(task_id, 0))["status"]["state"]
            return state

    assert asyncio.run(whole_life()) == "completed"


@pytest.mark.parametrize("service", ["Auth", "Index", "Object", "PurgeCache", "Queue", "Secrets", "WorkerManager"])
def test_every_service_answers_to_a_ping(server: DevCluster, service: str) -> None:
    client = server.client(getattr(taskcluster, service), {})
    assert client.ping()["alive"] is True
    client.heartbeat()
    client.lbheartbeat()
    client.version()


def test_pages_show_tasks_and_never_their_markup(server: DevCluster, queue: Any, claim: dict[str, Any]) -> None:
    evil = "<script>alert(1)</script>"
    task_id = new_slug()
    metadata = {**task_definition()["metadata"], "name": evil, "description": evil}
    queue.createTask(task_id, task_definition(metadata=metadata))
    queue.createArtifact(claim["status"]["taskId"], 0, 'public/"<b>', {**S3, "contentType": evil})
    pages = [
        requests.get(f"{server.root_url}{path}", timeout=10)
        for path in ("/", f"/tasks/{task_id}", f"/tasks/{claim['status']['taskId']}")
    ]
    assert all(page.status_code == 200 and "<script>" not in page.text for page in pages)
    assert task_id in pages[0].text
    assert "&lt;script&gt;" in pages[1].text
    assert "<b>" not in pages[2].text
    assert all("script-src" not in page.headers["Content-Security-Policy"] for page in pages)
    unknown = requests.get(f"{server.root_url}/tasks/<script>", timeout=10)
    assert unknown.status_code == 404
    assert "<script>" not in unknown.text
