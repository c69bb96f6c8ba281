"""Removes what this worker's dead runs have left at the daemon, and keeps some networks ready for the next.

Only what bears this worker's label is looked at. A daemon that is away is no reason to stop: there is a next sweep.
"""

import logging
from collections.abc import Iterable
from typing import Any

from taskward.core.ids import RunId
from taskward.core.settings import Settings
from taskward.executor.docker import labels
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.engine import DockerEngine
from taskward.executor.docker.front import front_of
from taskward.executor.docker.images.images import Images
from taskward.executor.docker.network import Networks
from taskward.executor.errors import EngineFailed

_logger = logging.getLogger(__name__)


class Containers:
    """Of one worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._daemon = settings, Daemon(settings.docker)
        self._state_dir = settings.layout.state_dir
        self._images = Images(self._daemon, settings)

    def runs(self) -> set[RunId]:
        """Those that have a container."""
        try:
            with self._daemon.asking("list containers"):
                found = self._daemon.api.containers(all=True, filters=self._filters())
        except EngineFailed as error:
            _logger.warning("containers not swept", extra={"reason": str(error)})
            return set()
        return {run for run in (labels.run_of(each.get("Labels") or {}) for each in found) if run is not None}

    def engine(self, run: RunId) -> DockerEngine:
        """For clearing it."""
        return DockerEngine(run, self._settings, self._daemon)

    def tidy(self, kept: Iterable[RunId]) -> None:
        """Volumes of runs that are not `kept`, images that are too old, networks beyond those that are to be ready."""
        try:
            self._remove_volumes(set(kept))
        except EngineFailed as error:
            _logger.warning("volumes not swept", extra={"reason": str(error)})
        try:
            self._images.sweep()
        except EngineFailed as error:
            _logger.warning("images not swept", extra={"reason": str(error)})
        self._keep_networks(self._settings.docker.networks_ready)

    def close(self) -> None:
        """The worker ends: nothing is kept ready."""
        self._keep_networks(0)
        self._daemon.close()

    def _keep_networks(self, ready: int) -> None:
        try:
            front = front_of(self._settings.others.get("proxy", {}), self._daemon)
            Networks(self._daemon, self._state_dir, front).keep(ready)
        except EngineFailed as error:
            _logger.warning("networks not swept", extra={"reason": str(error)})

    def _remove_volumes(self, kept: set[RunId]) -> None:
        with self._daemon.asking("list volumes"):
            found: list[dict[str, Any]] = self._daemon.api.volumes(filters=self._filters())["Volumes"] or []
        for volume in found:
            if labels.run_of(volume.get("Labels") or {}) not in kept:
                with self._daemon.asking("remove a volume"):
                    self._daemon.api.remove_volume(volume["Name"], force=True)

    def _filters(self) -> dict[str, str]:
        return {"label": f"{labels.WORKER}={labels.worker_id(self._state_dir)}"}
