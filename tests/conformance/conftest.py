import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import taskcluster

from conformance.front import Front, observed
from simulators.devcluster import task_definition
from simulators.redis import RedisServer
from taskward.core.ids import RunId
from taskward.core.layout import Layout
from taskward.core.settings import UploaderSettings
from uploader.cloud import Cloud
from uploader.site import EXPIRES, Site


@pytest.fixture(scope="package")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """One for all tests of a module, none of which may leave a breach."""
    with observed(tmp_path_factory.mktemp("devcluster")) as front:
        yield front


@pytest.fixture(autouse=True)
def _no_breach(front: Front) -> Iterator[None]:
    front.observer.breaches.clear()
    front.observer.names.clear()
    yield
    assert front.observer.breaches == []
    assert front.observer.to_lose == set()


@pytest.fixture
def site(redis_server: RedisServer, front: Front) -> Iterator[Site]:
    """A run that is ours and ready to be uploaded, at the observed cluster."""
    redis_server.flush()
    redis, state_dir = redis_server.client(), Path(tempfile.mkdtemp(prefix="twf"))
    site = Site(redis, redis_server, Cloud(), Layout(state_dir), root_url=front.url)
    site.settings = UploaderSettings(give_up_after_s=5)
    task_id = taskcluster.slugId()
    front.queue.createTask(task_id, task_definition(taskQueueId="proj/pool", expires=EXPIRES))
    claim = front.queue.claimWork("proj/pool", {"workerGroup": "g", "workerId": "w"})["tasks"][0]
    site.adopt(RunId(task_id, 0), json.dumps(claim["credentials"]))
    yield site
    redis.close()
    shutil.rmtree(state_dir)
