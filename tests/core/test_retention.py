"""Runs that are kept for a while: known to everybody as long as their process lives, and not longer."""

import os
import signal
from datetime import UTC, datetime
from pathlib import Path

from taskward.core.ids import RunId
from taskward.core.layout import Layout
from taskward.core.retention import Retention, retained, sweep

RUN = RunId("dSlITZ4yQgmvxxAi4A8fHQ", 3)
UNTIL = datetime(2030, 1, 1, tzinfo=UTC)


def test_a_retained_run_is_known_with_its_time_until_it_is_released(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    retention = Retention.begin(layout, RUN, UNTIL)

    assert retained(layout) == {RUN: "2030-01-01T00:00:00.000Z"}
    retention.release()
    assert retained(layout) == {}


def test_a_process_that_dies_retains_nothing(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    ready, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        Retention.begin(layout, RUN, UNTIL)
        os.write(tells, b".")
        signal.pause()
    os.read(ready, 1)
    assert list(retained(layout)) == [RUN]

    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert retained(layout) == {}
    sweep(layout)
    assert list(layout.locks("retained").iterdir()) == []
    for fd in (ready, tells):
        os.close(fd)


def test_where_nothing_was_ever_retained_nothing_is(tmp_path: Path) -> None:
    sweep(Layout(tmp_path))

    assert retained(Layout(tmp_path)) == {}
