import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from taskward.cli import toml
from taskward.core.settings import Settings

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes users and gives files away")

WriteConfig = Callable[..., Path]


@contextmanager
def new_place() -> Iterator[Path]:
    """A directory with a name short enough for Unix sockets, which other users can enter."""
    path = Path(tempfile.mkdtemp(prefix="twc"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def place() -> Iterator[Path]:
    """See `new_place`."""
    with new_place() as path:
        yield path


@pytest.fixture
def write_config(place: Path) -> WriteConfig:
    """See `config_writer`."""
    return config_writer(place)


def config_writer(place: Path) -> WriteConfig:
    """Writes a configuration whose Taskcluster is a closed port; sections are given as tables."""

    def write(**sections: dict[str, Any]) -> Path:
        token = place / "token"
        token.write_text("a-very-secret-token\n")
        token.chmod(0o600)
        known: dict[str, dict[str, Any]] = {
            "taskcluster": {
                "root_url": "http://127.0.0.1:9",
                "client_id": "project/x/worker",
                "access_token_file": token,
            },
            "worker": {
                "task_queue_id": "proj-x/linux",
                "worker_group": "dc1",
                "worker_id": "w-1",
                "state_dir": place / "w",
                "grace_s": 5,
            },
            "gateway": {"port": free_port()},
            "proxy": {"port": free_port()},
        }
        for name, table in sections.items():
            known[name] = known.get(name, {}) | table
        file = place / "worker.toml"
        file.write_text(toml.document(known))
        return file

    return write


@pytest.fixture
def settings(write_config: WriteConfig) -> Settings:
    return Settings.load(write_config())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
