"""A worker's machine for the executor alone: a real Redis, a state directory, claims as the claimer writes them."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.bench import Bench
from executor.holding import Holding
from simulators.redis import RedisServer
from taskward.executor.litter import remove_tree


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """Not in pytest's own directory, which no other user may enter."""
    directory = Path(tempfile.mkdtemp(prefix=f"tw{secrets.token_hex(2)}"))
    directory.chmod(0o711)
    yield directory
    remove_tree(directory)  # tasks may have made directories deeper than Python can go


@pytest.fixture
def bench(redis_server: RedisServer, state_dir: Path) -> Iterator[Bench]:
    redis_server.flush()
    with Bench(redis_server, state_dir) as bench:
        yield bench


@pytest.fixture
def shells_dir(bench: Bench) -> None:
    bench.layout.shells.mkdir(parents=True, mode=0o750)


@pytest.fixture
def holding(bench: Bench, shells_dir: None) -> Iterator[Holding]:
    task = Holding(bench)
    yield task
    task.leave()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs root says so, and is left out without it."""
    for item in items:
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))
