"""The child that loads our functions into a new Redis server, beside servers that are not there yet, or no more."""

import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskward.cli.redis import publish
from taskward.core.address import RedisAddress


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tw") as directory:
        yield Path(directory)


def address(home: Path) -> RedisAddress:
    (home / "password").write_text("x")
    return RedisAddress(home / "hidden.sock", "admin", home / "password")


@pytest.mark.parametrize("made", [False, True], ids=["no-socket", "bound-only"])
def test_it_waits_for_a_server_that_does_not_listen_yet_and_ends_with_it(home: Path, made: bool) -> None:
    """One that is bound refuses connections until it listens: no reason to end it."""
    began, bound = time.monotonic(), socket.socket(socket.AF_UNIX)
    if made:
        bound.bind(str(home / "hidden.sock"))
    with bound, pytest.raises(TimeoutError, match="the server does not"):
        publish(address(home), home / "redis.sock", lambda: time.monotonic() - began > 0.4)
    assert 0.4 < time.monotonic() - began < 10
    assert not (home / "redis.sock").exists()
