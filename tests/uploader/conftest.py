import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.redis import RedisServer
from taskward.core.layout import Layout
from uploader.cloud import Cloud
from uploader.site import Site


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as cloud:
        yield cloud


@pytest.fixture
def site(redis_server: RedisServer, cloud: Cloud) -> Iterator[Site]:
    redis = redis_server.client()
    for key in redis.keys("*"):
        redis.delete(key)
    state_dir = Path(tempfile.mkdtemp(prefix="twu"))
    site = Site(redis, redis_server, cloud, Layout(state_dir))
    yield site
    for process in site.processes:
        process.kill()
    redis.close()
    shutil.rmtree(state_dir)
