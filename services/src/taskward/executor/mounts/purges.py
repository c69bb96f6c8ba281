"""What the purge-cache service wants to be thrown away: asked before a task gets caches.

The executor has no credential, and needs none: a worker pool's requests are public on usual deployments. Where they
are not, the task's own scopes decide, through its proxy. No answer is no reason not to run the task.
"""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from taskward.core.clock import format_time, parse_time
from taskward.executor.mounts.errors import MountFailed
from taskward.executor.mounts.shelf import Shelf
from taskward.executor.mounts.site import Site

_STATE: Final = ".purges.json"
_OVERLAP: Final = timedelta(minutes=5)
_WITHOUT_CACHE_S: Final = 6 * 3600.0


class Purges:
    """For one task; `shelf` has the caches."""

    def __init__(self, site: Site, shelf: Shelf) -> None:
        self._site, self._shelf = site, shelf.prepare()
        self._state = shelf.directory / _STATE

    def carry_out(self, *, has_cache: bool) -> None:
        """Throws away what is older than a request; of what is in use, its user will."""
        asked_s = self._asked_s()
        if not has_cache and time.time() - asked_s < _WITHOUT_CACHE_S:
            return
        names = sorted({facts.key for _, facts in self._shelf.listing()})
        now_s = time.time()
        if names:
            try:
                before = self._ask(names, asked_s)
            except MountFailed as error:
                text = str(error).removeprefix("[mounts] ")
                self._site.warn("Could not reach purgecache service to see if caches need purging:")
                self._site.warn(text)
                return
            self._purge(before)
        _write(self._state, {"asked": now_s})

    def _ask(self, names: list[str], asked_s: float) -> dict[str, datetime]:
        """Cache name → the time before which it is to be thrown away."""
        settings = self._site.task.settings
        path = f"purge-cache/v1/purge-cache/{quote(settings.worker.task_queue_id, safe='')}"
        query = f"?since={format_time(datetime.fromtimestamp(asked_s, UTC) - _OVERLAP)}" if asked_s else ""
        url = f"{settings.taskcluster.root_url.rstrip('/')}/api/{path}{query}"
        try:
            answer = self._request(url, names, to_proxy=False)
        except MountFailed:
            proxy = self._site.peer.url()
            if proxy is None:
                raise
            answer = self._request(f"{proxy}/api/{path}{query}", names, to_proxy=True)
        return {name: parse_time(when) for name, when in answer["before"].items()}

    def _request(self, url: str, names: list[str], *, to_proxy: bool) -> dict[str, Any]:
        return self._site.porter.ask("purges", url=url, names=names, to_proxy=to_proxy)[0]

    def _purge(self, before: dict[str, datetime]) -> None:
        for name, facts in list(self._shelf.listing()):
            wanted = before.get(facts.key)
            created = datetime.fromtimestamp(facts.created_s, UTC)
            if wanted is None or created - _OVERLAP >= wanted:
                continue
            item = self._shelf.take(name)
            if item is None:
                self._site.say(f"Marking in-use cache {facts.key} for deferred purge")
                self._shelf.ask_to_purge(name)
                continue
            self._site.say(f"Removing cache {facts.key} from cache table (purge request)")
            self._site.say(f"Deleting cache {facts.key} file(s) at {item.content}")
            item.discard()

    def _asked_s(self) -> float:
        try:
            return float(json.loads(self._state.read_text())["asked"])
        except (OSError, ValueError, TypeError, KeyError):
            return 0.0


def _write(path: Path, value: dict[str, float]) -> None:
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(json.dumps(value))
    draft.rename(path)
