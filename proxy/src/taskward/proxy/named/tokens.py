"""Short-lived tokens for what a task may do at a server: fetched at the first request, renewed before they end."""

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from taskward.proxy.credentials import Vault
from taskward.proxy.errors import RequestError, StartError, UpstreamError, UpstreamTimeout
from taskward.proxy.named import secretfile
from taskward.proxy.named.exchange import ask
from taskward.proxy.named.settings import TokenSettings
from taskward.proxy.upstream import Pool

log = logging.getLogger(__name__)

_RENEW_BEFORE_S: Final = 10.0
_PAUSES_S: Final = (0.25, 0.5)
"""Between the tries of one request, with jitter; a service that did not answer in time is not asked again."""


@dataclass
class _Held:
    """A run's token; its lock lets one thread fetch it and the others wait for that."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: str = ""
    permissions: tuple[str, ...] = ()
    renew_at_s: float = float("-inf")


class Tokens:
    """The tokens of all runs at one service; usable by many threads."""

    def __init__(
        self,
        name: str,
        settings: TokenSettings,
        vault: Vault,
        pool: Pool,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._where = f"[proxy.upstreams.{name}.token] issuing_token_file"
        self._settings = settings
        self._vault = vault
        self._pool = pool
        self._clock = clock
        self._pause = pause
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()
        secretfile.read(settings.issuing_token_file, self._where)

    def get(self, run_key: str) -> str:
        """The run's token. RequestError: 403 without any permission, 502 when the service gives no token."""
        permissions = literal_permissions(self._vault.get(run_key).scopes, self._settings.scope_prefix)
        if not permissions:
            pattern = f"{self._settings.scope_prefix}*"
            raise RequestError(403, "NoPermissions", f"No permission scopes (matching '{pattern}') found on this task.")
        held = self._of(run_key)
        with held.lock:
            if self._clock() >= held.renew_at_s or held.permissions != permissions:
                asked_at_s = self._clock()
                held.token = self._fetch(permissions)
                held.permissions = permissions
                held.renew_at_s = asked_at_s + self._settings.lifetime_s - _RENEW_BEFORE_S
            return held.token

    def _of(self, run_key: str) -> _Held:
        with self._lock:
            if run_key not in self._held:
                over = [key for key, held in self._held.items() if self._clock() >= held.renew_at_s > float("-inf")]
                for key in over:
                    del self._held[key]
            return self._held.setdefault(run_key, _Held())

    def _fetch(self, permissions: Sequence[str]) -> str:
        pauses_s = iter(_PAUSES_S)
        while True:
            try:
                return self._ask(permissions)
            except (UpstreamError, StartError) as error:
                pause_s = None if isinstance(error, UpstreamTimeout) else next(pauses_s, None)
                if pause_s is None:
                    raise self._refused(error) from error
                log.warning("no token yet: %s", error)
            self._pause(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    def _refused(self, reason: object) -> RequestError:
        return RequestError(502, "NoToken", f"The token service at {self._settings.url} gave no token: {reason}.")

    def _ask(self, permissions: Sequence[str]) -> str:
        settings = self._settings
        issuing_token = secretfile.read(settings.issuing_token_file, self._where)
        fields = [
            ("Host", settings.url.authority),
            ("Authorization", f"Bearer {issuing_token}"),
            ("Content-Type", "application/json"),
        ]
        body = json.dumps(_wanted(permissions, settings.lifetime_s)).encode()
        reply = ask(self._pool, "POST", settings.path, fields, settings.timeout_s, body)
        if reply.status >= 500:
            raise UpstreamError(f"status {reply.status}")
        if reply.status != 200:
            raise self._refused(f"status {reply.status}")
        try:
            return _token(reply.body)
        except ValueError as error:
            raise self._refused(error) from error


def literal_permissions(scopes: Sequence[str], prefix: str) -> tuple[str, ...]:
    """What stands after `prefix` in the scopes, word for word: a star is a permission that is called so."""
    return tuple(sorted({scope.removeprefix(prefix) for scope in scopes if scope.startswith(prefix)} - {""}))


def _wanted(permissions: Sequence[str], lifetime_s: int) -> dict[str, Any]:
    expires = (datetime.now(UTC) + timedelta(seconds=lifetime_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"typ": "tmp", "expires": expires, "permissions": list(permissions), "metadata": {}}


def _token(body: bytes) -> str:
    """ValueError when there is none that can be sent on."""
    try:
        token = json.loads(body)["result"]["token"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("the answer is not of the form {result: {token: …}}") from error
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        raise ValueError("the token has characters that cannot be sent")
    return token
