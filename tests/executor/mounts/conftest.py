"""A worker's machine whose tasks reach simulated servers: files on the web, and Taskcluster behind the proxy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.bench import Bench
from executor.conftest import bench, pytest_collection_modifyitems, redis_server, state_dir
from executor.mounts.web import Web

__all__ = ["bench", "pytest_collection_modifyitems", "redis_server", "state_dir"]


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        yield web


@pytest.fixture
def mounting(bench: Bench, web: Web, state_dir: Path) -> Bench:
    """A bench whose proxy, queue and purge-cache service are the web server's."""
    bench.use(
        taskcluster={"root_url": web.url}, proxy={"port": web.port},
        executor={"required_disk_space_bytes": 0, "mount_timeout_s": 20},
    )  # fmt: skip
    return bench
