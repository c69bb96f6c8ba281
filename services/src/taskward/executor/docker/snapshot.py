"""A run's container as an image, for as long as it takes to save it.

The image has two names for whoever loads it, and one of this worker's own: from that a sweep knows whose it is. An
image tells how the container was made from which it was committed, with all its variables. So a second container,
which has none that are secret and never runs, stands between the task's and the image that is saved.
"""

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from taskward.core.ids import RunId
from taskward.executor.docker import labels
from taskward.executor.docker.container import Container
from taskward.executor.docker.daemon import IMAGE_IS_GONE, Daemon, DaemonRefused
from taskward.executor.errors import EngineFailed

_DRAFT: Final = "draft"
_UNNAMED_FOR_S: Final = 600.0
_WITHOUT_OWNER: Final = {labels.RUN: "", labels.WORKER: ""}


def public_names(run: RunId) -> tuple[str, str]:
    """As docker-worker named it, and as its documentation said."""
    plain = run.task_id.lower().replace("_", "0").replace("-", "0")
    return f"{plain}-{run.run_id}", f"task-{plain}-{run.run_id}"


class Snapshot:
    """Of one run; `remove` works on what any process has taken."""

    def __init__(self, daemon: Daemon, state_dir: Path, run: RunId) -> None:
        self._daemon, self._run = daemon, run
        self._labels = labels.of_run(state_dir, run)
        self._repository, self._tag = _repository(state_dir), f"run-{run.directory}"
        self._between = Container(daemon, f"{labels.container_name(state_dir, run)}-saved")

    def take(self, container: str, variables: Mapping[str, str]) -> tuple[str, str]:
        """Makes the image of a container that has ended; its public names, by which to save it.

        Args:
            container: name or id.
            variables: those that the image replaces.

        Raises:
            DaemonAway, DaemonRefused: there is no such image; `remove` is still to be called.
        """
        self.remove()
        config = {"Env": [f"{name}={value}" for name, value in variables.items()], "Labels": _WITHOUT_OWNER}
        draft = self._commit(container, f"{self._tag}.{_DRAFT}", config)
        self._between.create({"Image": draft, "Labels": self._labels, "HostConfig": {"NetworkMode": "none"}})
        image = self._commit(self._between.name, self._tag, {"Labels": _WITHOUT_OWNER})
        names = public_names(self._run)
        with self._daemon.asking("name the image of the container"):
            for name in names:
                self._daemon.api.tag(image, name, "latest", force=True)
        self.check()
        return names

    def check(self) -> None:
        """That the public names mean this image: another run's names may differ in nothing but letters' case.

        Raises:
            EngineFailed: they do not.
        """
        with self._daemon.asking("look for the image of the container"):
            own = self._daemon.api.inspect_image(f"{self._repository}:{self._tag}")["Id"]
            for name in public_names(self._run):
                if self._daemon.api.inspect_image(f"{name}:latest")["Id"] != own:
                    raise EngineFailed(f"another image has been given the name {name} meanwhile")

    def remove(self) -> None:
        """Takes everything away again; the worker's own name last, so that what is left is found."""
        self._between.remove()
        own = f"{self._repository}:{self._tag}"
        if (image := self._image_id(own)) is not None:
            for name in public_names(self._run):
                if self._image_id(f"{name}:latest") == image:
                    self._daemon.forget_image(f"{name}:latest")
            self._daemon.forget_image(own)
        self._daemon.forget_image(f"{own}.{_DRAFT}")

    def _commit(self, container: str, tag: str, config: Mapping[str, Any]) -> str:
        with self._daemon.asking("make an image of the container"):
            api, place = self._daemon.api, {"repository": self._repository, "tag": tag}
            return str(api.commit(container, **place, pause=False, conf=dict(config))["Id"])

    def _image_id(self, name: str) -> str | None:
        try:
            with self._daemon.asking("look for an image"):
                return str(self._daemon.api.inspect_image(name)["Id"])
        except DaemonRefused as error:
            if error.status in IMAGE_IS_GONE:
                return None
            raise


def sweep(daemon: Daemon, state_dir: Path, kept: Collection[RunId]) -> None:
    """Removes what runs that are not `kept` have left.

    Raises:
        DaemonAway, DaemonRefused: there may be more.
    """
    with daemon.asking("list images"):
        found: list[dict[str, Any]] = daemon.api.images(name=_repository(state_dir))
        lost = daemon.api.images(filters={"dangling": True, "label": f"{labels.STATE}={state_dir}"})
    for image in lost:
        # the work of a process that died while the daemon made it; somebody else's would have its name by now
        is_ours = (image.get("Labels") or {}).get(labels.RUN) == _WITHOUT_OWNER[labels.RUN]
        if is_ours and image["Created"] < time.time() - _UNNAMED_FOR_S:
            daemon.forget_image(image["Id"])
    for tag in (name.rpartition(":")[2] for each in found for name in each.get("RepoTags") or ()):
        try:
            run = RunId.of_directory(tag.removesuffix(f".{_DRAFT}").removeprefix("run-"))
        except ValueError:  # nothing that we have named
            continue
        if run not in kept:
            Snapshot(daemon, state_dir, run).remove()


def _repository(state_dir: Path) -> str:
    """Payloads cannot name it."""
    return f"taskward/saved-{labels.worker_id(state_dir)}"
