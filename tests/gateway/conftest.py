from collections.abc import Callable, Iterator

import pytest

from gateway.rig import Gateway
from simulators.redis import RedisServer

StartGateway = Callable[..., Gateway]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def gateway(redis_server: RedisServer) -> Iterator[Gateway]:
    """One process for all tests that do it no harm."""
    process = Gateway(redis_server).start()
    yield process
    process.remove()


@pytest.fixture
def start_gateway(redis_server: RedisServer) -> Iterator[StartGateway]:
    """Starts processes of one test's own, with settings of its own."""
    started: list[Gateway] = []

    def start(redis: RedisServer = redis_server, **keys: object) -> Gateway:
        started.append(Gateway(redis, **keys))
        return started[-1].start()

    yield start
    for process in started:
        process.remove()
