"""Images of registries, and those that an administrator has put at the daemon."""

import time
from typing import Final

from taskward.executor.docker.images.errors import ImageFailed
from taskward.executor.docker.images.library import Ensured, Library
from taskward.executor.docker.images.logins import login_for
from taskward.executor.docker.images.pull import PullFailed, pull
from taskward.executor.docker.images.record import Brought
from taskward.executor.docker.images.reference import Reference
from taskward.executor.docker.images.site import Site
from taskward.executor.docker.images.turn import Follower, Turn
from taskward.executor.docker.request import Image
from taskward.executor.mounts.shelf import Item

_IF_MISSING: Final = "if-missing"


class Named:
    """See `wish.Wish`.

    What is at the daemon and was not brought by this worker is used as it is. A tag that this worker has pulled may
    mean another image by now: it is asked for again, unless that was done a short time ago.

    Raises:
        ImageFailed: there is no such name, or the task lacks the scope.
    """

    def __init__(self, library: Library, site: Site, image: Image) -> None:
        self._library, self._site = library, site
        self._settings = site.task.settings.images
        self._reference = Reference.parse(image.name)
        self._login = login_for(self._reference, self._settings, site.scopes, image)
        self._account = self._login.account if self._login else ""
        self.key = f"registry:{self._reference}"

    def existing(self) -> Ensured | None:
        """Without asking the registry."""
        facts = self._library.inspect(str(self._reference))
        if facts is None or not self._reference.names(facts.get("RepoTags"), facts.get("RepoDigests")):
            return None
        item = None
        if taken := self._library.take(self.key):
            item, brought = taken
            if brought.id == facts["Id"] and self._is_stale(item, brought):
                item.close()
                return None
            item.touch()
        self._site.say(f"{self._reference} exists in the cache.")
        return self._library.ensured(facts, item)

    def bring(self, turn: Turn, follower: Follower) -> Ensured:
        """Pulls; where a registry cannot be reached, an image that it gave us before is better than none."""
        before = self._library.take(self.key)
        try:
            try:
                pull(self._site, self._reference, self._login, turn, follower.read)
            except ImageFailed as error:
                if before and isinstance(error, PullFailed) and (kept := self._keep(before[1])):
                    self._site.warn(f"{error.reason}: using the image that was pulled before")
                    return kept
                turn.fail(error.reason)
                raise
        finally:
            if before:
                before[0].close()
        return self._pulled(before[1] if before else None)

    def _pulled(self, before: Brought | None) -> Ensured:
        facts = self._library.inspect(str(self._reference))
        if facts is None:
            raise ImageFailed("image missing after pulling")
        older = {*before.older, before.id} - {facts["Id"]} if before else set()
        brought = Brought(str(self._reference), facts["Id"], account=self._account, older=tuple(sorted(older)))
        return self._library.ensured(facts, self._library.remember(self.key, brought))

    def _keep(self, before: Brought) -> Ensured | None:
        facts = self._library.inspect(before.name)
        if facts is None or facts["Id"] != before.id or before.account != self._account:
            return None
        return self._library.ensured(facts, self._library.remember(self.key, before))

    def _is_stale(self, item: Item, brought: Brought) -> bool:
        """Whether the registry is to be asked: also when another login, or none, is to be used from now on."""
        if brought.account != self._account:
            return True
        if self._reference.digest or self._settings.pull == _IF_MISSING or item.facts is None:
            return False
        return time.time() - item.facts.created_s >= self._settings.pull_again_after_s
