"""The images of the daemon, and what this worker remembers of those that it has brought."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from taskward.core.outcome import failed
from taskward.executor.docker.daemon import Daemon, DaemonRefused
from taskward.executor.docker.images.platform import Platform
from taskward.executor.docker.images.record import Brought
from taskward.executor.errors import EngineFailed, TaskEnded
from taskward.executor.mounts.shelf import Facts, Item, Shelf, id_of

_NOT_FOUND: Final = 404
_PAUSE_S: Final = 0.01
_SWEPT_WITHIN_S: Final = 60.0


@dataclass(frozen=True)
class Ensured:
    """An image that is at the daemon and stays there at least until `close`; a container keeps it then.

    Attributes:
        image_id: to make the container from: a name could mean something else a moment later.
        artifact_hash: ``sha256:…`` of the artifact that it came in; empty for images of registries.
        config: what the image says of itself (``Cmd``, ``Entrypoint``, ``Env``, ``Volumes``, …).
    """

    image_id: str
    artifact_hash: str
    config: Mapping[str, Any]
    _item: Item | None = field(default=None, repr=False, compare=False)

    @property
    def facts(self) -> dict[str, str]:
        """What chain of trust tells of it."""
        return facts(self.image_id, self.artifact_hash)

    def require_command(self, command: tuple[str, ...]) -> None:
        """That there is something to run.

        Raises:
            TaskEnded: neither the payload nor the image names a command.
        """
        if not command and not self.config.get("Cmd") and not self.config.get("Entrypoint"):
            raise TaskEnded(failed("There is nothing to run: the image names no command, so payload.command must"))

    @classmethod
    def of(cls, facts: Mapping[str, Any], item: Item | None = None, artifact_hash: str = "") -> Self:
        """From what the daemon tells; `item` is ours until `close`."""
        return cls(str(facts["Id"]), artifact_hash, facts.get("Config") or {}, item)

    def close(self) -> None:
        """To be called when there is a container, or will be none; twice is harmless."""
        if self._item is not None:
            self._item.close()


class Library:
    """Of one worker. What `take` and `remember` return is not removed until it is closed."""

    def __init__(self, daemon: Daemon, shelf: Shelf) -> None:
        self.daemon, self._shelf = daemon, shelf

    def inspect(self, name: str) -> Mapping[str, Any] | None:
        """What the daemon knows of an image; None for one that is not there."""
        try:
            with self.daemon.asking("look for an image"):
                found: Mapping[str, Any] = self.daemon.api.inspect_image(name)
                return found
        except DaemonRefused as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def take(self, key: str) -> tuple[Item, Brought] | None:
        """What was brought before."""
        item = self._shelf.take(id_of(key), shared=True)
        if item is None:
            return None
        brought = Brought.read(item)
        if brought is None:
            item.close()
            return None
        return item, brought

    def remember(self, key: str, brought: Brought) -> Item:
        """It was brought just now.

        Raises:
            EngineFailed: somebody holds its place; a sweep does so for a moment only.
        """
        deadline = time.monotonic() + _SWEPT_WITHIN_S
        while (item := self._shelf.prepare().take(id_of(key), make=True, shared=True)) is None:
            if time.monotonic() > deadline:
                raise EngineFailed(
                    f"the record of the image {key} was held for {_SWEPT_WITHIN_S:.0f} s by somebody else"
                )
            time.sleep(_PAUSE_S)
        now = time.time()
        brought.write(item)
        item.complete(Facts(key, now, now))
        return item

    def artifact_hash_of(self, image_id: str) -> str:
        """The hash of an artifact that an image was brought in; empty when none is remembered."""
        for name in self._shelf.ids():
            if item := self._shelf.take(name, shared=True):
                brought = Brought.read(item)
                item.close()
                if brought is not None and brought.id == image_id and brought.artifact_hash:
                    return brought.artifact_hash
        return ""

    def intend(self, key: str, name: str) -> None:
        """It is about to be brought: if that is cut short, what came of it will be removed."""
        self.remember(key, Brought(name, "")).close()

    def misfit(self, facts: Mapping[str, Any]) -> str:
        """Why an image of the daemon cannot run here; empty if it can."""
        return self.here.mismatch(Platform(facts.get("Os", ""), facts.get("Architecture", "")))

    @cached_property
    def here(self) -> Platform:
        """What the daemon can run."""
        with self.daemon.asking("tell its version"):
            version = self.daemon.api.version()
        return Platform(version["Os"], version["Arch"])

    @cached_property
    def root_directory(self) -> Path:
        """Where the daemon keeps its images."""
        with self.daemon.asking("describe itself"):
            return Path(self.daemon.api.info()["DockerRootDir"])


def facts(image_id: str, artifact_hash: str) -> dict[str, str]:
    """What chain of trust tells of an image."""
    return {"imageHash": image_id, **({"imageArtifactHash": artifact_hash} if artifact_hash else {})}
