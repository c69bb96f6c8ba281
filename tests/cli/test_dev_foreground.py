"""`taskward dev` in the foreground: whatever ends it, the worker ends with it."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskward.cli.dev import _stay
from taskward.cli.devworker import DevWorker
from taskward.cli.errors import Unavailable
from taskward.cli.supervisor import Process

from .conftest import WriteConfig


class Starting(DevWorker):
    """Somebody presses Ctrl-C, or closes the terminal, while it is being started."""

    signal = signal.SIGINT
    starts = 0
    stops = 0

    def start(self) -> tuple[Process, ...]:
        os.kill(os.getpid(), self.signal)
        self.starts += 1
        return ()

    def stop(self) -> bool:
        self.stops += 1
        return True


@pytest.fixture
def worker(place: Path, write_config: WriteConfig) -> Iterator[Starting]:
    usual = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    found = Starting(place)
    write_config().rename(found.config)
    yield found
    for each, handler in usual.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("heard", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_end_during_the_start_is_heard_and_leaves_nothing(worker: Starting, place: Path, heard: signal.Signals) -> None:
    worker.signal = heard
    (place / "devcluster").mkdir()
    access = {"rootUrl": "http://127.0.0.1:9", "clientId": "root", "accessToken": "secret"}
    (place / "devcluster/devcluster.json").write_text(json.dumps(access))
    _stay(worker)
    assert (worker.starts, worker.stops) == (1, 1)


def test_what_cannot_be_told_leaves_nothing_either(worker: Starting) -> None:
    with pytest.raises(Unavailable, match="no development cluster runs"):
        _stay(worker)
    assert (worker.starts, worker.stops) == (1, 1)
