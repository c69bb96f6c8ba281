"""The reaper: gives orphaned jobs back to their queue within moments of their worker's death.

A worker is dead when nobody holds its lock file (`locks.py`). A pidfd per worker wakes the reaper at once; a tick
every second is the net, and all there is for workers in other containers, whose pids are not seen from here. Jobs
that RQ has given up (retries spent, refused) end their run, so that no run is forgotten.

Rules that keep it right: whether a worker lives is looked up after its entry was read, never before; a job that is only
in the intermediate list gets a short grace, since its worker may be about to register it; after a death it sweeps again
a few times, since a job process may outlive its worker by some milliseconds.
"""

import logging
import os
import select
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from taskward.core.commands import Commands, text
from taskward.core.ids import RunId
from taskward.core.jobs import Queue
from taskward.core.link import Refusal
from taskward.core.locks import is_locked, visible
from taskward.core.metrics import Metrics
from taskward.core.outcome import exception
from taskward.core.process import pid_here
from taskward.core.record import ACTIVE_BEFORE_UPLOAD, Records

MAX_REQUEUES: Final = 5
GRACE_S: Final = 1.0
TICK_S: Final = 1.0
AFTER_A_DEATH_S: Final = (0.02, 0.1, 0.5)

_logger = logging.getLogger(__name__)


class Reaper:
    """Looks once over all queues; idempotent, and safe beside living workers."""

    def __init__(self, redis: Commands, locks: dict[Queue, Path], metrics: Metrics | None = None) -> None:
        self._redis, self._records, self._locks = redis, Records(redis), locks
        self._metrics = metrics or Metrics("claimer")
        self._waiting: dict[tuple[str, str], float] = {}

    def sweep(self) -> None:
        """Requeues what is orphaned, ends what is given up.

        Whoever serves a queue can make anything of its keys; that must not keep the other queue waiting.
        """
        for queue, lock_dir in self._locks.items():
            try:
                self._orphans(queue, lock_dir)
                self._given_up(queue)
            except (Refusal, ValueError) as error:
                _logger.error("the queue cannot be read", extra={"queue": queue.name, "error": str(error)})

    def _orphans(self, queue: Queue, lock_dir: Path) -> None:
        registered = [text(member) for member in self._redis.zrange(f"rq:wip:{queue.name}", 0, -1)]
        for member in registered:
            worker = text(self._redis.hget(f"rq:execution:{member}", "worker_name"))
            if "/" in worker or not worker or not is_locked(lock_dir / worker):
                self._requeue(queue, member, member.partition(":")[0])
        self._unregistered(queue, {member.partition(":")[0] for member in registered})

    def _unregistered(self, queue: Queue, registered: set[str]) -> None:
        between = {text(job) for job in self._redis.lrange(f"{queue.key}:intermediate", 0, -1)} - registered
        now = time.monotonic()
        self._waiting = {k: v for k, v in self._waiting.items() if k[0] != queue.name or k[1] in between}
        for job in between:
            if now - self._waiting.setdefault((queue.name, job), now) >= GRACE_S:
                self._requeue(queue, "", job)

    def _requeue(self, queue: Queue, member: str, job: str) -> None:
        names = [
            f"rq:wip:{queue.name}",
            f"{queue.key}:intermediate",
            queue.key,
            f"rq:job:{job}",
            f"rq:failed:{queue.name}",
        ]
        done = self._redis.fcall("tw_requeue", len(names), *names, member, job, MAX_REQUEUES)
        if done:
            self._metrics.count("orphans_total")
            _logger.warning("orphaned job", extra={"queue": queue.name, "job": job, "given_up": done < 0})

    def _given_up(self, queue: Queue) -> None:
        """A failed job's run must still be resolved."""
        for raw in self._redis.zrange(f"rq:failed:{queue.name}", 0, -1):
            job = text(raw)
            run = _run_of(job, queue)
            if run is not None:
                _logger.error("job failed for good", extra={"queue": queue.name, "job": job, "run": run.key})
                phases = ACTIVE_BEFORE_UPLOAD if queue.name == "execute" else ("uploading", "finishing")
                outcome = exception("internal-error", f"the worker could not {queue.name}: job {job} failed repeatedly")
                self._records.end(run, phases, outcome)
            self._redis.zrem(f"rq:failed:{queue.name}", job)


class Watch:
    """A pidfd per worker: the kernel tells of a death at once."""

    def __init__(self, lock_dirs: Iterable[Path]) -> None:
        self._dirs = tuple(lock_dirs)
        self._pidfds: dict[str, int] = {}
        self._poll = select.poll()

    def wait(self, timeout_s: float) -> bool:
        """True as soon as a worker has died, or when one has since the last call; False after `timeout_s`."""
        gone = self._refresh()
        ready = {fd for fd, _ in self._poll.poll(0 if gone else timeout_s * 1000)}
        for name in [name for name, fd in self._pidfds.items() if fd in ready]:
            self._forget(name)
        return gone or bool(ready)

    def _refresh(self) -> bool:
        """Whether one that was watched has let its lock go."""
        names = {path.name for lock_dir in self._dirs for path in visible(lock_dir) if is_locked(path)}
        gone = self._pidfds.keys() - names
        for name in gone:
            self._forget(name)
        for name in names - self._pidfds.keys():
            self._watch(name)
        return bool(gone)

    def _watch(self, name: str) -> None:
        """A name that holds no pid, one of another container, or one that is gone, is left to the tick."""
        pid = pid_here(name)
        if pid is None:
            return
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return
        self._pidfds[name] = fd
        self._poll.register(fd, select.POLLIN)

    def _forget(self, name: str) -> None:
        fd = self._pidfds.pop(name)
        self._poll.unregister(fd)
        os.close(fd)


def reap_for_ever(reaper: Reaper, watch: Watch, stop: threading.Event) -> None:
    """Sweeps at once, at each death and each second, until `stop`."""
    due: list[float] = [time.monotonic()]
    while not stop.is_set():
        pause_s = max(0.0, min(0.25, min(due) - time.monotonic()))
        if watch.wait(pause_s):
            due += [time.monotonic() + delay for delay in (0.0, *AFTER_A_DEATH_S)]
        if min(due) <= time.monotonic():
            reaper.sweep()
            now = time.monotonic()
            due = [at for at in due if at > now] or [now + TICK_S]


def _run_of(job: str, queue: Queue) -> RunId | None:
    """The run that a job id names (``x-<task>-<run>``, ``u-<task>-<run>-<n>``), or None for a planted id."""
    task_id, rest = job[len(queue.prefix) + 1 :][:22], job[len(queue.prefix) + 1 :][22:]
    try:
        return RunId.parse(f"{task_id}/{rest.split('-')[1]}")
    except (ValueError, IndexError):
        return None
