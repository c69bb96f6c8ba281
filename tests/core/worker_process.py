"""A worker of a test, as its own process: ``worker_process.py KIND ROLE SOCKET PASSWORD_FILE LOCKS OUT SLOTS``.

Its one function writes ``start``, waits as long as a file named ``hold`` exists beside OUT, and writes ``end``. A
worker that forks writes ``idle`` when it hears that a slot is idle, and ``errand`` from its errands.
"""

import os
import sys
import time
from pathlib import Path

from taskward.core.address import RedisAddress
from taskward.core.connection import connect
from taskward.core.forking import ForkingWorker
from taskward.core.safejob import Registry
from taskward.core.worker import InProcessWorker

KIND, ROLE, SOCKET, PASSWORD, LOCKS, OUT, SLOTS = sys.argv[1:]


def write(line: str) -> None:
    with Path(OUT).open("a") as stream:
        stream.write(f"{line} {os.getpid()}\n")


def work(task_id: str, run_id: int) -> None:
    write(f"start {task_id}/{run_id}")
    while Path(OUT).with_name("hold").exists():
        time.sleep(0.01)
    write(f"end {task_id}/{run_id}")


def upload(task_id: str, run_id: int, batch: int) -> None:
    work(task_id, run_id)


if ROLE == "executor":
    registry = Registry("execute")
    registry.add("execute", work, task_id=str, run_id=int)
else:
    registry = Registry("upload")
    registry.add("upload", upload, task_id=str, run_id=int, batch=int)
connection, lock_dir = connect(RedisAddress(Path(SOCKET), ROLE, Path(PASSWORD))), Path(LOCKS)
if KIND == "simple":
    InProcessWorker(ROLE, registry, connection, lock_dir).work()
else:
    ForkingWorker(
        ROLE, registry, connection, lock_dir, int(SLOTS),
        errand=lambda number: write(f"errand {number}"), idle=lambda slot: write(f"idle {slot}"),
    ).work()  # fmt: skip
