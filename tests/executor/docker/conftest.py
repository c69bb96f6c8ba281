"""A worker's machine with the machine's own Docker daemon; shared by the tests of a module, as networks take long."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.bench import Bench
from executor.conftest import pytest_collection_modifyitems, redis_server
from executor.docker.yard import Yard
from simulators.docker import busybox, daemon
from simulators.redis import RedisServer
from taskward.executor.sweep import Sweep

__all__ = ["busybox", "daemon", "pytest_collection_modifyitems", "redis_server"]


@pytest.fixture(scope="module")
def yard(redis_server: RedisServer, busybox: str) -> Iterator[Yard]:
    directory = Path(tempfile.mkdtemp(prefix=f"tw{secrets.token_hex(2)}"))
    directory.chmod(0o711)
    with Bench(redis_server, directory) as bench:
        yard = Yard(bench, busybox)
        yard.use()
        yield yard
        sweep = Sweep(bench.settings, bench.records, keep_logs_s=-1)
        sweep.run()
        sweep.close()
        bench.use()
        yard.close()
    shutil.rmtree(directory)
