"""What the proxy has in Redis: peers, credentials, word of new ones (all to read), and devices that runs hold."""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from taskward.proxy import keys
from taskward.proxy.errors import StartError, StoreUnavailable
from taskward.proxy.redislink import Address, LinkFailed, Links
from taskward.proxy.settings import Settings

log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 1.0
_PAUSE_AFTER_FAILURE_S: Final = 0.5
_MAX_VALUE_BYTES: Final = 1 << 20
_LISTENS_S: Final = 60.0


class Store:
    """Redis as the proxy sees it; usable by many threads.

    While Redis is away only one call per half second waits for it, the others raise StoreUnavailable at once, so that
    requests go on from memory without delay.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self._away_until = 0.0

    def peer(self, address: str) -> dict[str, str]:
        """The entry for a local address; empty when nobody may use it. StoreUnavailable: ask again later."""
        return self._hash(keys.peer(address))

    def credentials(self, run_key: str) -> bytes | None:
        """The stored credentials of a run, or None when there are none. StoreUnavailable: ask again later."""
        value = self._ask("GET", keys.credentials(run_key))
        return value if isinstance(value, bytes) and len(value) <= _MAX_VALUE_BYTES else None

    def devices(self) -> dict[str, str]:
        """Run → what is known of the device that it holds (JSON). StoreUnavailable: ask again later."""
        return self._hash(keys.DEVICES)

    def keep_device(self, run_key: str, text: str) -> None:
        """Remember, beyond this process, that a run holds a device. StoreUnavailable: it is not remembered."""
        self._ask("HSET", keys.DEVICES, run_key, text)

    def forget_device(self, run_key: str) -> None:
        """The run holds none any more. StoreUnavailable: try again later."""
        self._ask("HDEL", keys.DEVICES, run_key)

    @property
    def away(self) -> bool:
        """Whether the last call failed a moment ago."""
        return time.monotonic() < self._away_until

    def watch(self, changed: Callable[[str | None], None]) -> None:
        """Start a thread that calls `changed` with each RUN that has new credentials.

        After every (re)connection it is called with None: anything may have changed meanwhile.
        """
        threading.Thread(target=self._watch, args=(changed,), name="new-credentials", daemon=True).start()

    def _hash(self, key: str) -> dict[str, str]:
        """All of a hash; Redis tells names and values in turn."""
        answer = self._ask("HGETALL", key)
        words = [bytes(word).decode(errors="replace") for word in answer] if isinstance(answer, list) else []
        return dict(zip(words[::2], words[1::2], strict=False))

    def _ask(self, *words: str) -> object:
        if self.away:
            raise StoreUnavailable("Redis did not answer a moment ago")
        try:
            return self._links.ask(*words)
        except LinkFailed as error:
            self._away_until = time.monotonic() + _PAUSE_AFTER_FAILURE_S
            log.warning("Redis gives no answer, going on with what is in memory: %s", error)
            raise StoreUnavailable(str(error)) from error

    def _watch(self, changed: Callable[[str | None], None]) -> None:
        failures = 0
        while True:
            try:
                with self._links.listen(keys.CREDENTIALS_CHANNEL) as link:
                    changed(None)
                    failures = 0
                    while True:
                        match link.hear(_LISTENS_S):
                            case [b"message", _, bytes(run_key)]:
                                changed(run_key.decode(errors="replace"))
            except LinkFailed as error:
                failures += 1
                log.warning("lost the subscription to new credentials: %s", error)
                time.sleep(min(2.0, 0.05 * 2**failures) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter


def connect(settings: Settings) -> Store:
    """The store that the settings name; nothing is asked yet. StartError when the password cannot be read."""
    password = None
    if settings.redis_password_file is not None:
        try:
            password = settings.redis_password_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(f"[proxy] redis_password_file: {error}") from error
    return Store(Links(Address(settings.redis_socket, _TIMEOUT_S, settings.redis_user, password)))
