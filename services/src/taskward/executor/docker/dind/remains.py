"""What a run has made through its Docker socket, found by what it is marked with, whichever process made it."""

import contextlib
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from taskward.core.ids import RunId
from taskward.executor.docker import labels
from taskward.executor.docker.container import Container
from taskward.executor.docker.daemon import Daemon, DaemonRefused

_PREFIX: Final = "run-"
_AT_ONCE: Final = 4


def pins(state_dir: Path, run: RunId) -> tuple[str, str]:
    """Repository and beginning of the tags of a run's images; payloads cannot name them."""
    return _repository(state_dir), f"{_PREFIX}{run.directory}."


def name_prefix(state_dir: Path, run: RunId) -> str:
    """Of its containers and volumes."""
    return f"{labels.container_name(state_dir, run)}-dind-"


class Remains:
    """Of one run; every method may be called twice, and when there is nothing."""

    def __init__(self, daemon: Daemon, state_dir: Path, run: RunId) -> None:
        self._daemon, self._state_dir, self._run = daemon, state_dir, run
        self._filters = {"label": [f"{key}={value}" for key, value in labels.of_run(state_dir, run).items()]}

    def kill(self) -> None:
        """Ends all containers that run; their control group is killed, too, where the daemon has them in it.

        Raises:
            EngineFailed: the daemon could not.
        """
        for each in self._containers(all=False):
            self._let_go_on(each)
            each.kill()

    def remove(self) -> None:
        """Containers, then volumes, then images.

        Raises:
            EngineFailed: the daemon could not.
        """
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(Container.remove, self._containers(all=True)):
                pass
        with self._daemon.asking("list volumes"):
            volumes: list[dict[str, Any]] = self._daemon.api.volumes(filters=self._filters)["Volumes"] or []
        for volume in volumes:
            with self._daemon.asking("remove a volume"):
                self._daemon.api.remove_volume(volume["Name"], force=True)
        for tag in _tags(self._daemon, self._state_dir):
            if tag.startswith(pins(self._state_dir, self._run)[1]):
                self._daemon.forget_image(f"{_repository(self._state_dir)}:{tag}")

    def _let_go_on(self, container: Container) -> None:
        """What is frozen does not die; one that is dead already does not go on."""
        if (state := container.state()) is not None and state.status == "paused":
            with contextlib.suppress(DaemonRefused), self._daemon.asking("let a container go on"):
                self._daemon.api.unpause(container.name)

    def _containers(self, *, all: bool) -> list[Container]:
        prefix = name_prefix(self._state_dir, self._run)
        with self._daemon.asking("list containers"):
            found: list[dict[str, Any]] = self._daemon.api.containers(all=all, filters=self._filters)
        names = [name.removeprefix("/") for each in found for name in each.get("Names") or ()]
        return [Container(self._daemon, name) for name in names if name.startswith(prefix)]


def sweep(daemon: Daemon, state_dir: Path, kept: Collection[RunId]) -> None:
    """Removes images of runs that are not `kept`; containers and volumes are found by their labels.

    Raises:
        DaemonAway, DaemonRefused: there may be more.
    """
    for tag in _tags(daemon, state_dir):
        try:
            run = RunId.of_directory(tag.removeprefix(_PREFIX).partition(".")[0])
        except ValueError:  # nothing that we have named
            continue
        if run not in kept:
            daemon.forget_image(f"{_repository(state_dir)}:{tag}")


def _tags(daemon: Daemon, state_dir: Path) -> list[str]:
    with daemon.asking("list images"):
        found: list[dict[str, Any]] = daemon.api.images(name=_repository(state_dir))
    names = [name for each in found for name in each.get("RepoTags") or ()]
    return [name.rpartition(":")[2] for name in names if name.startswith(f"{_repository(state_dir)}:")]


def _repository(state_dir: Path) -> str:
    return f"taskward/dind-{labels.worker_id(state_dir)}"
