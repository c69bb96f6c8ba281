"""Where an engine gets images from."""

from taskward.core.settings import Settings
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.images.library import Ensured, Library, facts
from taskward.executor.docker.images.made import Made
from taskward.executor.docker.images.named import Named
from taskward.executor.docker.images.removal import Removal
from taskward.executor.docker.images.site import Site
from taskward.executor.docker.images.turn import Turns
from taskward.executor.docker.images.wish import Wish
from taskward.executor.docker.request import Image
from taskward.executor.mounts.shelf import Shelf, id_of


class Images:
    """Of one worker; what it knows is on disk, so any process may make one.

    Args:
        daemon: who has the images.
        settings: the worker's.
    """

    def __init__(self, daemon: Daemon, settings: Settings) -> None:
        self._settings = settings
        self._directory = settings.layout.state_dir / "images"
        self._shelf = Shelf(self._directory / "brought")
        self._turns = Turns(self._directory / "turns")
        self._library = Library(daemon, self._shelf)

    def ensure(self, image: Image, site: Site) -> Ensured:
        """The image, from wherever it is quickest; several tasks that want the same get it once.

        `site` is the task's and open (``with Site(task) as site``); the task's engine is prepared (`as_task`,
        `identity`), and the task is watched. What is returned is to be closed when there is a container.

        Raises:
            ImageFailed: the task cannot have it; the run fails.
            MalformedPayload: it needs Taskcluster, and this worker has no proxy.
            TaskEnded: the run must stop.
            EngineFailed: the daemon, or this machine, could not do it.
        """
        self._shelf.prepare()
        if image.type == "docker-image":
            return self._get(Named(self._library, site, image), image, site)
        return self._get(Made(self._library, site, image, self._directory), image, site)

    def facts_of(self, image: Image, image_id: str) -> dict[str, str]:
        """`Ensured.facts` of an image that some process has ensured, as long as it is remembered."""
        artifact_hash = self._library.artifact_hash_of(image_id) if image.path else ""
        return facts(image_id, artifact_hash)

    def sweep(self) -> None:
        """Removes what this worker has brought and nobody has used for `[images] expire_after_s`, and more while the
        daemon's disk has less room than `[executor] required_disk_space_bytes`. Any process may do so at any time.

        Raises:
            EngineFailed: the daemon is gone.
        """
        expire_after_s = self._settings.images.expire_after_s
        Removal(self._library, self._shelf).run(expire_after_s, self._settings.executor.required_disk_space_bytes)
        self._turns.sweep(expire_after_s)

    def _get(self, wish: Wish, image: Image, site: Site) -> Ensured:
        name = id_of(wish.key)
        follower = self._turns.follower(name, site.say)
        while True:
            if follower.waits:
                follower.read()
            if found := wish.existing():
                return found
            turn = self._turns.take(name, follower)
            if turn is not None:
                with turn:
                    return wish.existing() or wish.bring(turn, follower)
            if not follower.waits:
                follower.waits = True
                site.say(f"Waiting for another task that is getting {image}")
            site.pause()
