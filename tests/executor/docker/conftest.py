"""A worker's machine with the machine's own Docker daemon; shared by the tests of a module, as networks take long."""

from collections.abc import Iterator

import pytest

from executor.conftest import pytest_collection_modifyitems, redis_server
from executor.docker.yard import Yard, opened
from simulators.docker import busybox, daemon
from simulators.redis import RedisServer

__all__ = ["busybox", "daemon", "pytest_collection_modifyitems", "redis_server"]


@pytest.fixture(scope="module")
def yard(redis_server: RedisServer, busybox: str) -> Iterator[Yard]:
    with opened(redis_server, busybox) as yard:
        yield yard
