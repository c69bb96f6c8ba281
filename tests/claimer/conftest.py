import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import slugid
import taskcluster

from simulators.devcluster import DevCluster
from simulators.redis import RedisServer
from taskward.claimer.claim import Claims
from taskward.claimer.resolve import Resolver
from taskward.core.ids import RunId
from taskward.core.jobs import QUEUES
from taskward.core.layout import Layout
from taskward.core.metrics import Metrics
from taskward.core.outcome import Outcome
from taskward.core.record import Record, Records
from taskward.core.settings import WorkerSettings
from taskward.core.taskcluster import Credentials, Taskcluster

QUEUE = "proj-test/ci"


class Watch:
    """A clock that is moved by hand: time passes, or somebody sets it."""

    def __init__(self) -> None:
        self.now, self._elapsed_s = datetime.now(UTC), 0.0

    def __call__(self) -> datetime:
        return self.now

    def elapsed_s(self) -> float:
        """What no setting changes."""
        return self._elapsed_s

    def pass_s(self, seconds: float) -> None:
        self._elapsed_s += seconds
        self.set_s(seconds)

    def set_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    with DevCluster.start(tmp_path_factory.mktemp("devcluster"), claim_timeout_s=1200) as cluster:
        yield cluster


@dataclass
class Rig:
    """The claimer's parts between a real queue and a real Redis, with the claimer's rights."""

    cluster: DevCluster
    server: RedisServer
    worker: WorkerSettings

    def __post_init__(self) -> None:
        self.redis = self.server.linked("claimer")
        self.records = Records(self.redis)
        self.everyone = Records(self.server.client("admin"))
        self.taskcluster = Taskcluster(self.cluster.root_url, give_up_after_s=2)
        self.credentials = Credentials(self.cluster.client_id, self.cluster.access_token)
        self.claims = Claims(self.taskcluster, self.credentials, self.worker, self.records)
        self.metrics = self.layout.state_dir / "claimer.prom"
        self.resolver = Resolver(self.taskcluster, self.records, self.layout.proofs, Metrics("claimer", self.metrics))

    @property
    def layout(self) -> Layout:
        return Layout(self.worker.state_dir)

    def queue(self) -> Any:
        return self.cluster.client(taskcluster.Queue)

    def auth(self) -> Any:
        return self.cluster.client(taskcluster.Auth)

    def create(self, **more: Any) -> str:
        """A pending task of this test's own queue; returns its id."""
        task_id = str(slugid.nice())
        now = datetime.now(UTC)
        definition = {
            "taskQueueId": self.worker.task_queue_id,
            "created": now.isoformat(),
            "deadline": (now + timedelta(hours=1)).isoformat(),
            "payload": {},
            "metadata": {"name": "n", "description": "d", "owner": "o@example.com", "source": "https://example.com"},
            **more,
        }
        self.queue().createTask(task_id, definition)
        return task_id

    def claimed(self, **more: Any) -> RunId:
        """A run that has been claimed."""
        run = RunId(self.create(**more), 0)
        assert self.claims.ask(1) == 1
        return run

    def uploaded(self, run: RunId, outcome: Outcome) -> None:
        """What executor and uploader make of it."""
        self.everyone.move(run, ("claimed", "preparing"), "collecting", "executor")
        self.everyone.fan_out(run, "executor", 0, outcome)
        assert self.everyone.uploaded(run)

    def status(self, run: RunId) -> dict[str, Any]:
        answer: dict[str, Any] = self.queue().status(run.task_id)["status"]["runs"][run.run_id]
        return answer

    def record(self, run: RunId) -> Record:
        record = self.records.read(run)
        assert record is not None
        return record


@pytest.fixture
def rig(cluster: DevCluster, redis_server: RedisServer, request: pytest.FixtureRequest) -> Iterator[Rig]:
    redis_server.flush()
    queue = f"proj-test/q-{abs(hash(request.node.name)) % 10**9}"
    with tempfile.TemporaryDirectory(prefix="twc") as directory:  # pytest's own are too long for Unix sockets
        state_dir = Path(directory)
        for each in QUEUES:
            (state_dir / "locks" / each.name).mkdir(parents=True)
        yield Rig(cluster, redis_server, WorkerSettings(queue, "group", "worker", state_dir, capacity=2, grace_s=10))
