"""Removes what this worker's dead runs have left at the daemon, and keeps some networks ready for the next.

Only what bears this worker's label is looked at. A daemon that is away is no reason to stop: there is a next sweep.
"""

import logging
from collections.abc import Callable, Collection
from typing import Any, Final

from taskward.core.ids import RunId
from taskward.core.settings import Settings
from taskward.executor.docker import labels, snapshot
from taskward.executor.docker.container import Container
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.dind import remains
from taskward.executor.docker.engine import DockerEngine
from taskward.executor.docker.front import front_of
from taskward.executor.docker.images.images import Images
from taskward.executor.docker.network import Networks
from taskward.executor.errors import EngineFailed

_TURN_WITHIN_S: Final = 5.0

_Owned = tuple[RunId | None, str]

_logger = logging.getLogger(__name__)


class Containers:
    """Of one worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._daemon = settings, Daemon(settings.docker)
        self._state_dir = settings.layout.state_dir
        self._containers: list[_Owned] = []
        self._volumes: list[_Owned] = []
        self._images = Images(self._daemon, settings)

    def runs(self) -> set[RunId]:
        """Those that have a container or a volume now; what is found is what `tidy` removes from."""
        try:
            self._containers, self._volumes = self._listed_containers(), self._listed_volumes()
        except EngineFailed as error:
            self._containers, self._volumes = [], []
            _logger.warning("containers not swept", extra={"reason": str(error)})
        return {run for run, _ in (*self._containers, *self._volumes) if run is not None}

    def engine(self, run: RunId) -> DockerEngine:
        """For clearing it."""
        return DockerEngine(run, self._settings, self._daemon)

    def tidy(self, kept: Collection[RunId], images: bool) -> None:
        """What else runs that are not `kept` have left, networks beyond those to be ready, images that are too old."""
        self._try("containers and volumes", lambda: self._remove_others(kept))
        if images:
            self._try("saved containers", lambda: snapshot.sweep(self._daemon, self._state_dir, kept))
            self._try("images of tasks", lambda: remains.sweep(self._daemon, self._state_dir, kept))
            self._try("images", self._images.sweep)
        self._keep_networks(self._settings.docker.networks_ready)

    def close(self) -> None:
        """The worker ends: nothing is kept ready. Another executor may have looked while a run here had its network."""
        self._keep_networks(0, _TURN_WITHIN_S)
        self.leave()

    def leave(self) -> None:
        """Gives the connections to the daemon back; a further call opens new ones."""
        self._daemon.close()

    def _keep_networks(self, ready: int, patience_s: float = 0.0) -> None:
        front = front_of(self._settings.others.get("proxy", {}), self._daemon)
        self._try("networks", lambda: Networks(self._daemon, self._state_dir, front).keep(ready, patience_s))

    def _try(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except EngineFailed as error:
            _logger.warning("%s not swept", what, extra={"reason": str(error)})

    def _remove_others(self, kept: Collection[RunId]) -> None:
        """A run's own container was removed with it; these have names that do not tell their run."""
        for run, container_id in self._containers:
            if run not in kept:
                Container(self._daemon, container_id).remove()
        for run, volume in self._volumes:
            if run not in kept:
                with self._daemon.asking("remove a volume"):
                    self._daemon.api.remove_volume(volume, force=True)

    def _listed_containers(self) -> list[_Owned]:
        with self._daemon.asking("list containers"):
            found: list[dict[str, Any]] = self._daemon.api.containers(all=True, filters=self._filters())
        return [(labels.run_of(each.get("Labels") or {}), each["Id"]) for each in found]

    def _listed_volumes(self) -> list[_Owned]:
        with self._daemon.asking("list volumes"):
            found: list[dict[str, Any]] = self._daemon.api.volumes(filters=self._filters())["Volumes"] or []
        return [(labels.run_of(each.get("Labels") or {}), each["Name"]) for each in found]

    def _filters(self) -> dict[str, str]:
        return {"label": f"{labels.WORKER}={labels.worker_id(self._state_dir)}"}
