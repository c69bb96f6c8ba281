"""What the proxy has in Redis: peers, credentials, word of new ones (all to read), and devices that runs hold."""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from taskward.proxy import keys
from taskward.proxy.errors import StartError, StoreUnavailable
from taskward.proxy.settings import Settings

log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 1.0
_PAUSE_AFTER_FAILURE_S: Final = 0.5
_MAX_VALUE_BYTES: Final = 1 << 20
T = TypeVar("T")


class Store:
    """Redis as the proxy sees it; usable by many threads.

    While Redis is away only one call per half second waits for it, the others raise StoreUnavailable at once, so that
    requests go on from memory without delay.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._away_until = 0.0

    def peer(self, address: str) -> dict[str, str]:
        """The entry for a local address; empty when nobody may use it. StoreUnavailable: ask again later."""
        entry = cast(dict[bytes, bytes], self._call(lambda: self._client.hgetall(keys.peer(address))))
        return {name.decode(): value.decode(errors="replace") for name, value in entry.items()}

    def credentials(self, run_key: str) -> bytes | None:
        """The stored credentials of a run, or None when there are none. StoreUnavailable: ask again later."""
        value = cast(bytes | None, self._call(lambda: self._client.get(keys.credentials(run_key))))
        return value if value is None or len(value) <= _MAX_VALUE_BYTES else None

    def devices(self) -> dict[str, str]:
        """Run → what is known of the device that it holds (JSON). StoreUnavailable: ask again later."""
        held = cast(dict[bytes, bytes], self._call(lambda: self._client.hgetall(keys.DEVICES)))
        return {run_key.decode(): text.decode(errors="replace") for run_key, text in held.items()}

    def keep_device(self, run_key: str, text: str) -> None:
        """Remember, beyond this process, that a run holds a device. StoreUnavailable: it is not remembered."""
        self._call(lambda: self._client.hset(keys.DEVICES, run_key, text))

    def forget_device(self, run_key: str) -> None:
        """The run holds none any more. StoreUnavailable: try again later."""
        self._call(lambda: self._client.hdel(keys.DEVICES, run_key))

    @property
    def away(self) -> bool:
        """Whether the last call failed a moment ago."""
        return time.monotonic() < self._away_until

    def watch(self, changed: Callable[[str | None], None]) -> None:
        """Start a thread that calls `changed` with each RUN that has new credentials.

        After every (re)connection it is called with None: anything may have changed meanwhile.
        """
        threading.Thread(target=self._watch, args=(changed,), name="new-credentials", daemon=True).start()

    def _call(self, command: Callable[[], T]) -> T:
        if self.away:
            raise StoreUnavailable("Redis did not answer a moment ago")
        try:
            return command()
        except redis.RedisError as error:
            self._away_until = time.monotonic() + _PAUSE_AFTER_FAILURE_S
            log.warning("Redis gives no answer, going on with what is in memory: %s", error)
            raise StoreUnavailable(str(error)) from error

    def _watch(self, changed: Callable[[str | None], None]) -> None:
        failures = 0
        while True:
            try:
                with self._client.pubsub(  # type: ignore[no-untyped-call]  # untyped in redis
                    ignore_subscribe_messages=True
                ) as subscription:
                    subscription.subscribe(keys.CREDENTIALS_CHANNEL)
                    changed(None)
                    failures = 0
                    while True:
                        message = subscription.get_message(timeout=60.0)
                        if message is not None:
                            changed(message["data"].decode(errors="replace"))
            except redis.RedisError as error:
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
    client = redis.Redis(
        unix_socket_path=str(settings.redis_socket),
        username=settings.redis_user if password else None,
        password=password,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
    )
    return Store(client)
