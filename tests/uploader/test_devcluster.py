"""The same against the development cluster: its queue, its object service, its storage."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import slugid
import taskcluster

from simulators.devcluster import DevCluster
from simulators.patience import until
from taskward.core.clock import format_time
from taskward.core.ids import RunId
from taskward.core.outbox import Entry
from taskward.core.settings import UploaderSettings
from uploader.site import BACKING, EXPIRES, LIVE, Site

POOL = "proj/pool"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    with DevCluster.start(tmp_path_factory.mktemp("devcluster")) as cluster:
        yield cluster


@pytest.fixture
def claimed(site: Site, cluster: DevCluster) -> Site:
    """A run that the queue knows to be ours."""
    queue = cluster.client(taskcluster.Queue)
    task_id = str(slugid.nice())
    queue.createTask(task_id, definition())
    claim = queue.claimWork(POOL, {"tasks": 1, "workerGroup": "g", "workerId": "w"})["tasks"][0]
    assert claim["status"]["taskId"] == task_id
    site.root_url = cluster.root_url
    site.adopt(RunId(task_id, 0), json.dumps(claim["credentials"]))
    return site


def definition() -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "provisionerId": "proj", "workerType": "pool", "created": format_time(now), "payload": {},
        "deadline": format_time(now + timedelta(hours=1)), "expires": EXPIRES,
        "metadata": {"name": "n", "description": "d", "owner": "o@example.com", "source": "https://example.com"},
    }  # fmt: skip


def download(cluster: DevCluster, run: RunId, name: str) -> bytes:
    url = f"{cluster.root_url}/api/queue/v1/task/{run.task_id}/runs/{run.run_id}/artifacts/{name}"
    answer = requests.get(url, timeout=10)
    answer.raise_for_status()
    return answer.content


@pytest.mark.parametrize("storage", ["s3", "object"])
def test_what_was_uploaded_can_be_downloaded(claimed: Site, cluster: DevCluster, storage: str) -> None:
    claimed.settings = UploaderSettings(storage=storage, give_up_after_s=5)
    big = bytes(range(256)) * 40_000
    claimed.left_by_the_executor(
        claimed.file("public/small.txt", b"small", "gzip"),
        claimed.file("public/big.bin", big, content_type="application/octet-stream"),
        Entry("public/none", "", 0, "", "identity", EXPIRES, "file-missing-on-worker", "gone", optional=True),
    )
    claimed.upload_all()
    assert claimed.outcome.succeeded, claimed.notes.read()
    assert download(cluster, claimed.run, "public/small.txt") == b"small"
    assert download(cluster, claimed.run, "public/big.bin") == big
    assert download(cluster, claimed.run, LIVE) == b"hello\n"
    listed = cluster.client(taskcluster.Queue).listArtifacts(claimed.run.task_id, 0)["artifacts"]
    kinds = {artifact["name"]: artifact["storageType"] for artifact in listed}
    assert kinds == {
        "public/small.txt": storage, "public/big.bin": storage, BACKING: storage, LIVE: "link", "public/none": "error",
    }  # fmt: skip


def test_after_the_run_is_resolved_the_queue_refuses(claimed: Site, cluster: DevCluster) -> None:
    claimed.left_by_the_executor(claimed.file("public/a", b"a"))
    cluster.client(taskcluster.Queue).reportCompleted(claimed.run.task_id, 0)
    claimed.upload_all()
    assert claimed.outcome.reason == "malformed-payload"


def test_two_processes_share_the_batches(claimed: Site, cluster: DevCluster) -> None:
    names = [f"public/{n}" for n in range(40)]
    processes = [claimed.process() for _ in range(2)]
    claimed.left_by_the_executor(
        *(claimed.file(name, name.encode()) for name in names), batches=[range(n, 40, 4) for n in range(4)]
    )
    until(lambda: claimed.record.phase == "uploaded", within_s=20)
    assert [process.terminate() for process in processes] == [0, 0]
    assert [download(cluster, claimed.run, name) for name in names] == [name.encode() for name in names]
