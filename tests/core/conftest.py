from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from core.workers import Workers
from simulators.redis import RedisServer
from taskward.core.record import Records


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    client = redis_server.client()
    for key in client.keys("*"):
        client.delete(key)
    yield client
    client.close()


@pytest.fixture
def records(redis: Redis) -> Records:
    return Records(redis)


@pytest.fixture
def workers(redis_server: RedisServer, redis: Redis, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(redis_server, tmp_path)
    yield workers
    workers.end()
