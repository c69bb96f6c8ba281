"""The credentials of running tasks: parsed once, held in memory, replaced while requests go on."""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from taskward.proxy import hawk
from taskward.proxy.errors import RequestError, StoreUnavailable
from taskward.proxy.routes import RootUrl
from taskward.proxy.store import Store

log = logging.getLogger(__name__)

MAX_AGE_S: Final = 1.0
"""The net below the channel: credentials older than this are read again before they are used."""

_MAX_SCOPES_HEADER_CHARS: Final = 2048


@dataclass(frozen=True)
class Credentials:
    """One claim's credentials, ready for use; `answer_headers` tell the task under what identity it calls.

    `scopes` are the task's, as its author wrote them, and those that every task has.
    """

    signer: hawk.Signer
    scopes: tuple[str, ...]
    expires: datetime
    answer_headers: tuple[tuple[str, str], ...]
    too_long: bool

    def authorization(self, method: str, resource: str) -> str:
        """The Authorization header for one request; RequestError when no service would accept its length."""
        if self.too_long:
            raise RequestError(
                502,
                "TooManyScopes",
                f"The signature of this task's requests would exceed {hawk.MAX_HEADER_CHARS} characters, which every "
                "Taskcluster service refuses. Give the task fewer or shorter scopes, or one that ends in '*' in "
                "place of many.",
            )
        return self.signer.header(method, resource, int(time.time()))


def parse(text: bytes, root: RootUrl) -> Credentials:
    """Credentials from what the claimer stored.

    JSON with ``clientId``, ``accessToken``, ``certificate`` (JSON text or null), ``takenUntil`` (ISO 8601) and
    ``authorizedScopes``: always a list, since the claim itself may resolve the run, which a task must not.
    ValueError when it is anything else; the text of the error holds no secret.
    """
    try:
        stored = json.loads(text)
        certificate = json.loads(stored["certificate"]) if stored.get("certificate") else None
        expires = datetime.fromisoformat(stored["takenUntil"]).astimezone(UTC)
        if certificate is not None:
            expires = min(expires, datetime.fromtimestamp(certificate["expiry"] / 1000, UTC))
        scopes = stored["authorizedScopes"]
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise TypeError("authorizedScopes")
        ext = hawk.make_ext(certificate, hawk.without_covered(scopes))
        signer = hawk.Signer(root, stored["clientId"], stored["accessToken"], ext)
    except (KeyError, TypeError, AttributeError, OverflowError, json.JSONDecodeError) as error:
        raise ValueError(f"not the credentials of a claim: {type(error).__name__}") from None
    too_long = signer.header_chars > hawk.MAX_HEADER_CHARS
    return Credentials(signer, tuple(scopes), expires, _answer_headers(stored, certificate), too_long)


def _answer_headers(stored: dict[str, Any], certificate: object) -> tuple[tuple[str, str], ...]:
    kind = "Perm" if certificate is None else "Temp"
    headers = [(f"X-Taskcluster-Proxy-{kind}-ClientId", stored["clientId"])]
    if isinstance(certificate, dict):
        headers += _scopes_header("X-Taskcluster-Proxy-Temp-Scopes", certificate.get("scopes", []))
    return (*headers, *_scopes_header("X-Taskcluster-Authorized-Scopes", stored["authorizedScopes"]))


def _scopes_header(name: str, scopes: object) -> list[tuple[str, str]]:
    """None for a list that is too long for many a client: half a list would be a wrong one."""
    text = json.dumps(scopes)
    return [(name, text)] if len(text) <= _MAX_SCOPES_HEADER_CHARS else []


@dataclass(frozen=True)
class _Held:
    text: bytes
    credentials: Credentials
    read_at_s: float


class Vault:
    """The newest credentials of each run, keyed by RUN so that a reused address never gets another run's.

    `get` is cheap and called for each request by many threads. Refreshing swaps one reference; requests in flight go on
    with what they signed and hold nothing up.
    """

    def __init__(self, store: Store, root: RootUrl, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._root = root
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()

    def get(self, run_key: str) -> Credentials:
        """The newest credentials of a run, from memory when they were read within the last second.

        RequestError (503) when there are none.
        """
        held = self._held.get(run_key)
        if held is not None and self._clock() - held.read_at_s < MAX_AGE_S:
            return held.credentials
        try:
            return self._read(run_key)
        except StoreUnavailable:
            if held is None:
                raise RequestError(503, "NoCredentials", "The worker cannot be reached; try again shortly.") from None
            return held.credentials

    def changed(self, run_key: str | None) -> None:
        """Hear of new credentials of a run (None: of any); those of runs in use are read at once."""
        for key in list(self._held) if run_key is None else [run_key] if run_key in self._held else []:
            try:
                self._read(key)
            except (StoreUnavailable, RequestError):
                log.info("no new credentials yet for run=%s", key)

    def __len__(self) -> int:
        return len(self._held)

    def _read(self, run_key: str) -> Credentials:
        asked_at_s = self._clock()
        text = self._store.credentials(run_key)
        with self._lock:
            held = self._held.get(run_key)
            if held is not None and held.read_at_s > asked_at_s:
                return held.credentials  # another thread asked later than we did: its answer is the newer one
            if text is None:
                self._held.pop(run_key, None)
                raise RequestError(503, "NoCredentials", "This run has no credentials (any more).")
            credentials = held.credentials if held and held.text == text else self._parse(run_key, text)
            self._held[run_key] = _Held(text, credentials, asked_at_s)
            return credentials

    def _parse(self, run_key: str, text: bytes) -> Credentials:
        try:
            return parse(text, self._root)
        except ValueError as error:
            log.error("unusable credentials of run=%s: %s", run_key, error)
            raise RequestError(503, "NoCredentials", "The stored credentials of this run are unusable.") from error
