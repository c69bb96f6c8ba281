"""Logs of runs that are over: they stay a while for their readers, unless the next task needs the room."""

import contextlib
import logging
import os
import time
from collections.abc import Iterable
from typing import Final

from taskward.core.ids import RunId
from taskward.core.layout import Layout
from taskward.core.record import Records
from taskward.executor.litter import remove_tree
from taskward.executor.room import Need
from taskward.executor.tasklog import LOG_FILE, unprotect
from taskward.executor.traces import runs_in

KEEP_LOGS_S: Final = 60.0
"""How long the log of a run that is over can still be read here; the queue has it as an artifact."""

KEPT_OF_LOG_BYTES: Final = 1 << 20
"""What is left of a log that has filled the disk."""

_logger = logging.getLogger(__name__)


def remove(layout: Layout, runs: Iterable[RunId], older_than_s: float) -> None:
    """The logs of `runs`, which are over, that nobody has written to for so long."""
    for run in runs:
        directory = layout.log_directory(run)
        log = directory / LOG_FILE
        try:
            written = (log if log.exists() else directory).stat().st_mtime
        except FileNotFoundError:  # another executor sweeps, too
            continue
        if time.time() - written >= older_than_s:
            unprotect(log)
            remove_tree(directory)


def cut_all(layout: Layout) -> None:
    """Where nothing runs any more and the disk is full: of each log only the beginning stays."""
    for run in runs_in(layout.logs):
        log = layout.log_directory(run) / LOG_FILE
        with contextlib.suppress(FileNotFoundError):
            if log.stat().st_size > KEPT_OF_LOG_BYTES:
                unprotect(log)
                os.truncate(log, KEPT_OF_LOG_BYTES)


def make_room(layout: Layout, records: Records, need: Need) -> None:
    """Removes all that are not needed, if there is not as much room as that."""
    if not need.shortage(layout.state_dir):
        return
    listed = runs_in(layout.logs)  # before Redis is asked, so none of a run that begins now
    past = listed - records.active()
    _logger.info("making room", extra={"logs": len(past)})
    remove(layout, past, 0)
