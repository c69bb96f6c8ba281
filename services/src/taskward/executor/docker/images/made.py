"""Images that are artifacts of tasks."""

from pathlib import Path

from taskward.executor.docker.images.artifact import authorise, fetch_and_load, name_of, resolve
from taskward.executor.docker.images.errors import ImageFailed
from taskward.executor.docker.images.library import Ensured, Library
from taskward.executor.docker.images.record import Brought
from taskward.executor.docker.images.site import Site
from taskward.executor.docker.images.turn import Follower, Turn
from taskward.executor.docker.request import Image


class Made:
    """See `wish.Wish`. An artifact that was loaded once is not downloaded again, but asked for in the task's name.

    Raises:
        ImageFailed: the index does not know it.
    """

    def __init__(self, library: Library, site: Site, image: Image, place: Path) -> None:
        self._library, self._site, self._place = library, site, place
        self._wanted = image
        self._artifact = resolve(site, image)
        self.key = self._artifact.key

    def existing(self) -> Ensured | None:
        """What was loaded before, if the queue lets this task have the artifact."""
        taken = self._library.take(self.key)
        if taken is None:
            return None
        item, brought = taken
        try:
            facts = self._library.inspect(brought.name)
            if facts is None or facts["Id"] != brought.id:
                item.close()
                return None
            authorise(self._site, self._artifact, self._wanted)
            item.touch()
        except BaseException:
            item.close()
            raise
        self._say_loaded(brought.id)
        return Ensured.of(facts, item, brought.artifact_hash)

    def bring(self, turn: Turn, follower: Follower) -> Ensured:
        """Downloads and loads. What goes wrong need not go wrong for other tasks: they try for themselves."""
        library = self._library
        sha256 = fetch_and_load(self._site, library, self._artifact, self._wanted, self._place)
        facts = library.inspect(name_of(sha256))
        if facts is None:
            raise ImageFailed("Error loading docker image. Image did not load properly.")
        brought = Brought(name_of(sha256), facts["Id"], artifact_hash=f"sha256:{sha256}")
        item = library.remember(self.key, brought)
        self._say_loaded(brought.id)
        return Ensured.of(facts, item, brought.artifact_hash)

    def _say_loaded(self, image_id: str) -> None:
        path, task_id = self._artifact.path, self._artifact.task_id
        self._site.say(f"Image '{path}' from task '{task_id}' loaded.  Using image ID {image_id}.")
