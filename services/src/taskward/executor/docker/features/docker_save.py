"""The container and its caches as artifacts, for somebody to load and look at."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from requests import Response

from taskward.core.clock import format_time
from taskward.core.outbox import Entry, ErrorReason
from taskward.core.outcome import failed
from taskward.executor.collect import open_outbox
from taskward.executor.docker import download
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.download import NotThere, TooLarge
from taskward.executor.docker.features.container_feature import ContainerFeature
from taskward.executor.docker.request import saved_cache
from taskward.executor.docker.snapshot import Snapshot

IMAGE: Final = "public/dockerImage.tar"
_IMAGE_FILE: Final = "docker-image"
_PATIENCE_S: Final = 1800.0  # the daemon packs a whole image before it sends the first byte

_Open = Callable[[], AbstractContextManager[Response]]


class DockerSave(ContainerFeature):
    """``features.dockerSave``. Its place is after the caches, so that it looks at them before they are given back.

    Archives come from the daemon, which follows no symbolic link in them, and are compressed while they are uploaded.
    """

    name = "Docker Save"
    key = "dockerSave"
    publishes = True

    def reserved(self) -> Sequence[str]:
        """The image, and each cache."""
        return (IMAGE, *map(saved_cache, self.wanted.caches))

    def start(self) -> None:
        """Warns: nothing but this feature's name in the payload protects what is published."""
        with_caches = " and its caches" if self.wanted.caches else ""
        self.task.log.warn(
            f"features.dockerSave: everything in the file system of this container{with_caches}, secrets too, becomes "
            "public when the task ends. Variables of encryptedEnv are left out, unless the task writes them to a file"
        )

    def stop(self) -> None:
        """Saves what is not saved yet, unless nobody wants to know of the run any more.

        Raises:
            EngineFailed: the daemon could not do it.
            OSError: this machine could not.
        """
        task = self.task
        if task.outcome is not None and task.outcome.unreported:
            return
        daemon = Daemon(replace(task.settings.docker, timeout_s=max(_PATIENCE_S, task.settings.docker.timeout_s)))
        try:
            snapshot = Snapshot(daemon, task.layout.state_dir, task.run)
            try:
                if self.engine.container.state() is not None:
                    self._save_all(daemon, snapshot)
            finally:
                snapshot.remove()
        finally:
            daemon.close()

    def _save_all(self, daemon: Daemon, snapshot: Snapshot) -> None:
        task, container = self.task, self.engine.container.name
        outbox = task.layout.outbox(task.run)
        open_outbox(outbox)
        self._save(IMAGE, _IMAGE_FILE, outbox, partial(self._image, daemon, snapshot))
        for number, (cache, place) in enumerate(self.wanted.caches.items()):
            path, query = f"/containers/{container}/archive", {"path": f"{place.rstrip('/')}/."}
            cache_archive = partial(download.opened, daemon, path, query, "pack a cache")
            self._save(saved_cache(cache), f"cache-{number}", outbox, cache_archive)

    @contextmanager
    def _image(self, daemon: Daemon, snapshot: Snapshot) -> Iterator[Response]:
        self.task.log.info(f"Saving the container as {IMAGE}")
        public_names = {"names": list(snapshot.take(self.engine.container.name, self._blanks()))}
        with download.opened(daemon, "/images/get", public_names, "save an image") as response:
            snapshot.check()
            yield response

    def _save(self, name: str, file: str, outbox: Path, open_archive: _Open) -> None:
        """One artifact; what is not there, or is too large, becomes an error artifact and fails the task."""
        if not (outbox / file).exists():
            try:
                with open_archive() as response:
                    download.save(response, outbox, file, self.task.settings.docker.max_saved_bytes)
            except NotThere as error:
                self._lose(name, "file-missing-on-worker", str(error))
                return
            except TooLarge as error:
                self._lose(name, "too-large-file-on-worker", f"{error} ([docker] max_saved_bytes)")
                return
        self._publish(name, outbox / file)

    def _publish(self, name: str, path: Path) -> None:
        self.task.entries.append(
            Entry(name, path.name, path.stat().st_size, "application/x-tar", "gzip", self._expires())
        )

    def _lose(self, name: str, reason: ErrorReason, why: str) -> None:
        text = f"{'image' if name == IMAGE else 'cache'} could not be uploaded: {name}: {why}"
        self.task.log.error(text)
        self.task.entries.append(
            Entry(name, "", 0, "application/x-tar", "identity", self._expires(), reason, text[:4000], optional=True)
        )
        self.task.fail(failed(text))

    def _expires(self) -> str:
        task = self.task
        soon = task.clock() + timedelta(seconds=task.settings.docker.saved_expire_after_s)
        return format_time(min(soon, task.expires))

    def _blanks(self) -> dict[str, str]:
        """Variables of the container that neither its image nor the task's definition shows to everybody, emptied."""
        daemon, environment = self.engine.daemon, self.task.definition["payload"].get("env", {})
        with daemon.asking("describe the container"):
            described = daemon.api.inspect_container(self.engine.container.name)
            image = daemon.api.inspect_image(described["Image"])
        public = {*(image["Config"].get("Env") or ()), *(f"{name}={value}" for name, value in environment.items())}
        return {each.partition("=")[0]: "" for each in described["Config"]["Env"] or () if each not in public}
