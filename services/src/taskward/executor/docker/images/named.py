"""Images of registries, and those that an administrator has put at the daemon."""

import time
from collections.abc import Mapping
from typing import Any, Final

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
_BRIEFLY_S: Final = 7.0


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
        taken = self._library.take(self.key)
        if taken is None or taken[1].id not in ("", facts["Id"]):
            if taken is not None:
                taken[0].close()
            return self._good(facts, None, self._library.misfit(facts))
        item, brought = taken
        if self._is_stale(item, brought):
            item.close()
            return None
        item.touch()
        return self._good(facts, item, brought.misfit)

    def bring(self, turn: Turn, follower: Follower) -> Ensured:
        """Pulls; where a registry cannot be reached, an image that it gave us before is better than none."""
        before = self._library.take(self.key)
        if before is None:
            self._library.intend(self.key, str(self._reference))
        try:
            pull(self._site, self._reference, self._login, turn, follower.read, self._patience_s(before))
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

    def _good(self, facts: Mapping[str, Any], item: Item | None, misfit: str) -> Ensured:
        if misfit:
            if item is not None:
                item.close()
            raise ImageFailed(misfit)
        self._site.say(f"{self._reference.written} exists in the cache.")
        return Ensured.of(facts, item)

    def _pulled(self, before: Brought | None) -> Ensured:
        facts = self._library.inspect(str(self._reference))
        if facts is None:
            raise ImageFailed("image missing after pulling")
        older = tuple(sorted({*before.older, before.id} - {facts["Id"], ""})) if before else ()
        misfit = self._library.misfit(facts)
        brought = Brought(str(self._reference), facts["Id"], account=self._account, older=older, misfit=misfit)
        item = self._library.remember(self.key, brought)
        if misfit:
            item.close()
            raise ImageFailed(misfit)
        return Ensured.of(facts, item)

    def _keep(self, before: Brought) -> Ensured | None:
        facts = self._usable(before)
        return Ensured.of(facts, self._library.remember(self.key, before)) if facts is not None else None

    def _usable(self, before: Brought) -> Mapping[str, Any] | None:
        facts = self._library.inspect(before.name)
        return facts if facts and facts["Id"] == before.id and before.account == self._account else None

    def _patience_s(self, before: tuple[Item, Brought] | None) -> float:
        """With a registry in trouble: little where an image is here that will do."""
        stall_s = self._settings.stall_s
        return min(stall_s, _BRIEFLY_S) if before and self._usable(before[1]) else stall_s

    def _is_stale(self, item: Item, brought: Brought) -> bool:
        """Whether the registry is to be asked: also when another login, or none, is to be used from now on."""
        if brought.account != self._account or not brought.id:
            return True
        if self._reference.digest or self._settings.pull == _IF_MISSING or item.facts is None:
            return False
        return time.time() - item.facts.created_s >= self._settings.pull_again_after_s
