"""A run with a desktop, for tests."""

import json
import os
import pwd
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from executor.bench import Bench, JobProcess, Result, shell
from taskward.claimer.slots import Slots
from taskward.core import locks
from taskward.core.ids import RunId

NAME = "login-identity/someone/rdpInfo.json"
SCOPES = ["generic-worker:allow-rdp:proj-x/linux"]
SESSION = ["sh", "-c", "echo $DISPLAY >display; exec sleep 1000"]
WAITS = shell("touch running; while [ ! -e stop ]; do sleep 0.05; done; echo kept >kept")

NEEDS = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("xrdp") or not shutil.which("Xvnc"), reason="needs xrdp and Xvnc"),
]
"""Marks of tests that open one."""


class Desk:
    """A run with a desktop, as its job process keeps it."""

    def __init__(self, bench: Bench, run: RunId, job: JobProcess) -> None:
        self.bench, self.run, self.job = bench, run, job
        self.home = bench.layout.task_directory(run)

    @classmethod
    def open(cls, bench: Bench, **payload: Any) -> "Desk":
        told = {"command": WAITS, "maxRunTime": 30, "rdpInfo": NAME, **payload}
        run = bench.claim(told, scopes=SCOPES)
        desk = cls(bench, run, bench.start(run))
        bench.wait_until((desk.home / "running").exists)
        return desk

    @property
    def info(self) -> dict[str, Any]:
        outbox = self.bench.layout.outbox(self.run)
        early = json.loads((outbox / "early.json").read_text())
        info: dict[str, Any] = json.loads((outbox / early["file"]).read_text())
        return info

    @property
    def environment(self) -> dict[str, str]:
        """Of an X client with the task's rights."""
        display = (self.home / "display").read_text().strip()
        authority = self.bench.layout.desktop(self.run) / "Xauthority"
        return {"DISPLAY": display, "XAUTHORITY": str(authority), "PATH": os.environ["PATH"]}

    def wait_for_session(self) -> None:
        self.bench.wait_until(lambda: (self.home / "display").exists() and bool((self.home / "display").read_text()))

    def finish(self) -> Result:
        """The commands end; until the run is handed over."""
        (self.home / "display").unlink(missing_ok=True)
        (self.home / "stop").touch()
        self.bench.wait_until(lambda: not self.is_active())
        return self.bench.result(self.run)

    def is_active(self) -> bool:
        record = self.bench.records.read(self.run)
        return record is not None and record.phase in ("claimed", "preparing", "running", "collecting")

    def end(self) -> None:
        self.job.terminate()
        self.job.wait()


def offer(bench: Bench, **more: Any) -> None:
    usual = {"enable_rdp": True, "rdp_retention_s": 60, "rdp_session": SESSION}
    bench.configure("executor", **{**usual, **more})


def uid_of(desk: Desk) -> int:
    return pwd.getpwnam(desk.info["username"]).pw_uid


def free_slots(bench: Bench) -> int:
    directory = bench.layout.locks("execute")
    directory.mkdir(parents=True, exist_ok=True)
    lock = locks.hold(directory, f"executor-{time.monotonic_ns()}")
    try:
        return Slots(bench.redis, bench.records, bench.layout, 1).free()
    finally:
        os.close(lock)


def program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
