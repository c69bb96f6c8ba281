"""One server for the tests that talk HTTP, and a cluster with a hand-moved clock for the others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import taskcluster

from simulators.devcluster import WORKER, DevCluster, ManualClock, task_definition
from taskward.devcluster.cluster import Cluster
from taskward.devcluster.settings import Settings


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    state_dir = tmp_path_factory.mktemp("devcluster")
    with DevCluster.start(state_dir, claim_wait_s=2, purge_cache_s=0) as running:
        yield running


@pytest.fixture
def queue(server: DevCluster) -> Any:
    return server.client(taskcluster.Queue)


@pytest.fixture
def queue_id(request: pytest.FixtureRequest) -> str:
    """A task queue of this test alone."""
    return f"proj-test/q-{abs(hash(request.node.nodeid)) % 10**12}"


@pytest.fixture
def claim(queue: Any, queue_id: str) -> dict[str, Any]:
    """A running run of a task with the scope ``secrets:get:mine``."""
    queue.createTask(taskcluster.slugId(), task_definition(taskQueueId=queue_id, scopes=["secrets:get:mine"]))
    claimed: dict[str, Any] = queue.claimWork(queue_id, {**WORKER, "tasks": 1})["tasks"][0]
    return claimed


@pytest.fixture
def task_queue(server: DevCluster, claim: dict[str, Any]) -> Any:
    """A queue client with the credentials of the claim."""
    return server.client(taskcluster.Queue, claim["credentials"])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cluster(tmp_path: Path, clock: ManualClock) -> Iterator[Cluster]:
    settings = Settings(tmp_path, claim_timeout_s=20)
    made = Cluster(settings, "http://127.0.0.1:1", clock)
    yield made
    made.close()
