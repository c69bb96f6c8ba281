"""Workers with the rights of their role, as real processes, for tests."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis

from simulators.patience import until
from simulators.redis import RedisServer
from taskward.claimer.reaper import Reaper
from taskward.core.ids import RunId
from taskward.core.jobs import EXECUTE, UPLOAD, Job
from taskward.core.locks import visible

RUN = RunId("dSlITZ4yQgmvxxAi4A8fHQ", 0)
PROGRAM = Path(__file__).with_name("worker_process.py")


@dataclass
class Workers:
    """Starts workers and sees what they did."""

    server: RedisServer
    directory: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("execute", "upload"):
            self.locks(name).mkdir()

    def locks(self, queue: str) -> Path:
        return self.directory / f"locks-{queue}"

    @property
    def out(self) -> Path:
        return self.directory / "out"

    def start(self, kind: str = "fork", role: str = "executor", slots: int = 1) -> subprocess.Popen[bytes]:
        address = self.server.address(role)
        locks = self.locks("execute" if role == "executor" else "upload")
        words = [kind, role, str(address.socket), str(address.password_file), str(locks), str(self.out), str(slots)]
        process = subprocess.Popen([sys.executable, "-W", "error", str(PROGRAM), *words])
        self.started.append(process)
        until(lambda: any(f"-{process.pid}-" in path.name for path in visible(locks)))
        return process

    def said(self, *words: str) -> list[tuple[str, int]]:
        """Lines that begin with one of the words, each with the pid of who wrote it."""
        lines = self.out.read_text().splitlines() if self.out.exists() else []
        parts = [line.rpartition(" ") for line in lines if line.split()[0] in words]
        return [(line, int(pid)) for line, _, pid in parts]

    def done(self) -> list[str]:
        """What jobs wrote."""
        return [line for line, _ in self.said("start", "end")]

    def pids(self) -> list[int]:
        """Of the processes that wrote it."""
        return [pid for _, pid in self.said("start", "end")]

    def hold(self, yes: bool = True) -> None:
        path = self.directory / "hold"
        path.touch() if yes else path.unlink()

    def reaper(self) -> Reaper:
        locks = {queue: self.locks(queue.name) for queue in (EXECUTE, UPLOAD)}
        return Reaper(self.server.linked("claimer"), locks)

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()


def put(redis: Redis, job: Job) -> None:
    fields = job.fields()
    redis.hset(job.key, mapping=dict(zip(fields[::2], fields[1::2], strict=True)))
    redis.rpush(job.queue.key, job.id)
