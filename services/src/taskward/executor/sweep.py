"""Removes whatever lies about of runs that are over: directories, users, control groups, outboxes, logs.

What belongs to a run tells its name (or, of a user, its home), so a sweep needs no list of what was made, and clears up
after crashes of any kind. Runs that Redis holds as active are left alone, and those that a living process retains; so
are logs for a while, for their readers.
"""

import logging
import os
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Final

from taskward.core import locks, retention
from taskward.core.ids import RunId
from taskward.core.record import Records
from taskward.core.settings import Settings
from taskward.executor import account, cgroup, pastlogs
from taskward.executor.docker.presence import has_containers
from taskward.executor.engine import Engine
from taskward.executor.errors import EngineFailed
from taskward.executor.litter import remove_tree
from taskward.executor.mounts.store import Store
from taskward.executor.native import NativeEngine
from taskward.executor.pastlogs import KEEP_LOGS_S
from taskward.executor.room import Need
from taskward.executor.traces import runs_in, runs_of

if TYPE_CHECKING:
    from taskward.executor.docker.sweep import Containers

IMAGES_EVERY: Final = 12
"""Sweeps."""

_logger = logging.getLogger(__name__)


class Sweep:
    """One pass over everything below one state directory."""

    def __init__(self, settings: Settings, records: Records, keep_logs_s: float = KEEP_LOGS_S) -> None:
        self._settings, self._layout, self._records = settings, settings.layout, records
        self._keep_logs_s = keep_logs_s

    def start(self) -> None:
        """`relieve`, then `run`; for the start of a worker."""
        self.relieve()
        self.run()

    def relieve(self) -> None:
        """Makes room on a full disk, where Redis cannot run and so cannot be asked which runs are over: while no job
        process lives, none of them goes on here."""
        need = Need.always(self._settings.executor)
        if not need.shortage(self._layout.state_dir):
            return
        if any(map(locks.is_locked, locks.visible(self._layout.proofs))):
            return
        for run in runs_in(self._layout.tasks):
            _logger.warning("removed, since the disk is full", extra={"run": run.key})
            clear(NativeEngine(run, self._layout, self._settings.executor), run)
        if need.shortage(self._layout.state_dir):
            pastlogs.cut_all(self._layout)

    def now_and_then(self, number: int) -> None:
        """`run`, every few seconds; images are looked at once a minute, since a daemon may have thousands."""
        self.run(images=number % IMAGES_EVERY == 0)

    def run(self, images: bool = True) -> None:
        """Removes what is over. It is listed before Redis is asked, so nothing that is being made is taken."""
        containers = self._containers()
        in_containers, remains = containers.runs() if containers else set(), self._remains()
        outboxes, logs = runs_in(self._layout.state_dir / "outbox"), runs_in(self._layout.logs)
        shells = runs_of({path.stem for path in self._layout.shells.glob("*.sock")})
        desktops = runs_in(self._layout.desktops)
        active = self._records.active()
        kept = active | retention.retained(self._layout).keys()  # asked in this order: see `core.retention`
        for run in remains - kept - in_containers:
            clear(NativeEngine(run, self._layout, self._settings.executor), run)
        if containers:
            for run in in_containers - kept:
                clear(containers.engine(run), run)
            containers.tidy(kept, images)
            containers.leave()
        for run in outboxes - active:
            remove_tree(self._layout.outbox(run))
        for run in desktops - kept:
            remove_tree(self._layout.desktop(run))
        for run in shells - active:
            self._layout.shell_socket(run).unlink(missing_ok=True)
        pastlogs.remove(self._layout, logs - active, self._keep_logs_s)
        retention.sweep(self._layout)
        Store(self._layout.state_dir).sweep()

    def close(self) -> None:
        """The worker ends: what was kept ready for further runs goes."""
        if containers := self._containers():
            containers.close()

    def _containers(self) -> "Containers | None":
        if not has_containers(self._settings):
            return None
        from taskward.executor.docker.sweep import Containers  # only workers that run containers need it

        return Containers(self._settings)

    def _remains(self) -> set[RunId]:
        found = runs_in(self._layout.tasks) | runs_of(cgroup.names(self._layout.state_dir))
        if os.geteuid() == 0:
            found |= runs_of({each.home.name for each in account.below(self._layout.tasks)})
        return found


def clear(engine: Engine, run: RunId) -> None:
    """Removes what a run had to execute in; what resists is told, and is there for the next sweep."""
    try:
        engine.kill()
        engine.remove()
    except (EngineFailed, OSError, SubprocessError) as error:
        _logger.warning("remains of a run not removed", extra={"run": run.key, "reason": str(error)})
