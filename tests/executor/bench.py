"""Claims runs, carries them out in a process of their own (as the forked job process does), and shows what is left."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import slugid

from simulators.patience import until
from simulators.redis import RedisServer
from taskward.core.clock import format_time
from taskward.core.connection import connect
from taskward.core.ids import RunId
from taskward.core.outbox import Entry, Index
from taskward.core.outcome import Outcome
from taskward.core.process import start_time
from taskward.core.record import Record, Records
from taskward.core.settings import Settings
from taskward.executor.job import Executor
from taskward.executor.kind import EngineFactory
from taskward.executor.native import NativeEngine
from taskward.executor.processes import of_user
from taskward.executor.sweep import Sweep
from taskward.executor.watch import AbortReasons

WITHIN_S = 30.0


class Bench:
    """One worker's executor, without RQ around it."""

    def __init__(self, server: RedisServer, state_dir: Path) -> None:
        self.server, self.state_dir = server, state_dir
        self.redis = server.client("admin")
        self.records = Records(self.redis)
        self.settings = settings(state_dir)
        self.layout = self.settings.layout
        (state_dir / "run").mkdir(exist_ok=True)  # as `taskward up` does, for all to pass through

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_unused: object) -> None:
        for run in self.records.active():
            self.records.resolved(run)
        Sweep(self.settings, self.records, keep_logs_s=-1).run()

    def configure(self, section: str, **values: Any) -> None:
        """Other settings than the usual ones."""
        self.settings = settings(self.state_dir, {section: values})

    def use(self, **sections: Mapping[str, Any]) -> None:
        """Other settings in several sections."""
        self.settings = settings(self.state_dir, sections)

    def sweep(self) -> None:
        """As an executor does between jobs."""
        Sweep(self.settings, self.records).run()

    def claim(self, payload: Any, **task: Any) -> RunId:
        """A new claim of a new task."""
        run = RunId(slugid.nice(), 0)
        until = datetime.now(UTC) + timedelta(minutes=20)
        self.records.claim(run, {**definition(payload), **task}, until, "here", "w-1", "{}")
        return run

    def run(self, command: Sequence[Any], engine: EngineFactory | None = None, **payload: Any) -> "Result":
        """A task with these commands, until it is handed over."""
        return self.run_payload({"command": list(command), "maxRunTime": 20, **payload}, engine)

    def run_payload(self, payload: Any, engine: EngineFactory | None = None, **task: Any) -> "Result":
        """A task with this payload, until it is handed over."""
        run = self.claim(payload, **task)
        job = self.start(run, engine)
        assert job.wait() == 0
        return self.result(run)

    def start(self, run: RunId, engine: EngineFactory | None = None) -> "JobProcess":
        """The job process of a run that is claimed."""
        return JobProcess(lambda: self.execute(run, engine))

    def uid_of(self, run: RunId) -> int:
        """Of the run's user."""
        return NativeEngine(run, self.layout, self.settings.executor).identity.uid

    def execute(self, run: RunId, engine: EngineFactory | None = None) -> None:
        """What the job does; to be called in a process of its own."""
        address = self.server.address("executor")
        Executor(self.settings, connect(address), AbortReasons(address), engine).execute(run.task_id, run.run_id)

    def result(self, run: RunId) -> "Result":
        """What there is of a run now."""
        record = self.records.read(run)
        assert record is not None
        return Result(record, self.layout.outbox(run), self.layout.log_directory(run))

    def has_log(self, run: RunId) -> bool:
        """Whether the run has begun to write its log."""
        return (self.layout.log_directory(run) / "live.log").exists()

    @staticmethod
    def processes_of(uid: int) -> set[int]:
        """Living processes of a user."""
        return of_user(uid)

    @staticmethod
    def is_alive(pid: int) -> bool:
        """Whether there is such a process, not counting zombies."""
        return start_time(pid) is not None

    def wait_for_phase(self, run: RunId, phase: str) -> None:
        """Until the run is there."""
        self.wait_until(lambda: (self.records.read(run) or self.result(run).record).phase == phase)

    def wait_for_line(self, run: RunId, text: str) -> None:
        """Until the log has it."""
        log = self.layout.log_directory(run) / "live.log"
        self.wait_until(lambda: log.exists() and text in log.read_text(errors="replace"))

    @staticmethod
    def wait_until(condition: Callable[[], bool]) -> None:
        until(condition, within_s=WITHIN_S)


class JobProcess:
    """A forked process, as RQ's job process is one."""

    def __init__(self, function: Callable[[], None]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.setpgid(0, 0)
                os.umask(0o027)  # as `taskward.executor` has it
                function()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)

    def kill(self) -> None:
        """As `kill -9` does."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def terminate(self) -> None:
        """As the worker does when it is told to stop."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Exit code."""
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        self.kill()
        raise TimeoutError("the job did not end")


class Result:
    """What the uploader and the claimer find."""

    def __init__(self, record: Record, outbox: Path, log_directory: Path) -> None:
        self.record, self.outbox, self.log_directory = record, outbox, log_directory

    @property
    def outcome(self) -> Outcome:
        assert self.record.outcome is not None
        return self.record.outcome

    @property
    def log(self) -> str:
        return (self.log_directory / "live.log").read_text(errors="replace")

    @property
    def log_bytes(self) -> bytes:
        """With line ends as they are."""
        return (self.log_directory / "live.log").read_bytes()

    @property
    def output(self) -> list[str]:
        """What the task itself printed."""
        return [line for line in self.log.splitlines() if not line.startswith("[taskcluster")]

    @property
    def index(self) -> Index:
        return Index.read(self.outbox)

    @property
    def entries(self) -> dict[str, Entry]:
        return {entry.name: entry for entry in self.index.entries}

    def content(self, name: str) -> bytes:
        return (self.outbox / self.entries[name].file).read_bytes()


def settings(state_dir: Path, more: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    data: dict[str, dict[str, Any]] = {
        "taskcluster": {
            "root_url": "https://tc.example.com",
            "client_id": "worker",
            "access_token_file": str(state_dir / "token"),
        },
        "worker": {
            "task_queue_id": "proj-x/linux",
            "worker_group": "here",
            "worker_id": "w-1",
            "state_dir": str(state_dir),
        },
        "proxy": {"port": 60080},
        "docker": {"enabled": False},
    }
    for section, values in (more or {}).items():
        data.setdefault(section, {}).update(values)
    return Settings.parse(data, "test")


def definition(payload: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "provisionerId": "proj-x",
        "workerType": "linux",
        "taskGroupId": slugid.nice(),
        "created": format_time(now),
        "deadline": format_time(now + timedelta(hours=1)),
        "expires": format_time(now + timedelta(days=1)),
        "scopes": [],
        "payload": payload,
    }


def shell(script: str) -> list[list[str]]:
    """One command."""
    return [["bash", "-c", script]]
