"""Who is let in, and how often: callers whom the configuration names, each with a rate of his own."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

from taskward.signer.answers import ForbiddenError, TooManyError
from taskward.signer.audit import AuditLog
from taskward.signer.door import SocketDoor, TlsDoor
from taskward.signer.peer import allowed_peer, is_ourselves
from taskward.signer.rate import RateLimit

Caller = Mapping[str, int | str]
"""``{"uid": …}`` or ``{"client": …}``."""

_log = logging.getLogger(__name__)
_STRANGERS_PER_MINUTE: Final = 6


class Admission:
    """The callers of one door; safe for use by several threads.

    A stranger takes nothing of what others may do: he has no rate, and of all strangers together six refusals a minute
    are recorded, each with how many were not since the one before.
    """

    def __init__(
        self,
        door: SocketDoor | TlsDoor,
        per_minute: int,
        audit: AuditLog,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._door = door
        self._audit = audit
        self._per_minute = per_minute
        self._rates: defaultdict[object, RateLimit] = defaultdict(lambda: RateLimit(per_minute, monotonic_s))
        self._recorded = RateLimit(_STRANGERS_PER_MINUTE, monotonic_s)
        self._unrecorded = 0
        self._lock = threading.Lock()

    def caller(self, connection: Any) -> Caller:
        """Who calls; raises `ForbiddenError`, and records it, for anybody whom the configuration does not name."""
        try:
            return allowed_peer(connection, self._door)
        except ForbiddenError as error:
            self._record(error)
            raise

    def is_onlooker(self, connection: Any) -> bool:
        """Who may see health and metrics: whoever can open our Unix socket; over TLS, who has our own certificate."""
        return not isinstance(self._door, TlsDoor) or is_ourselves(connection, self._door)

    def count(self, caller: Caller) -> None:
        """Raises `TooManyError` when this caller has asked more often than it may."""
        with self._lock:
            rate = self._rates[tuple(caller.items())]  # as many as the configuration names
        if not rate.take():
            raise TooManyError("too-many", f"more than {self._per_minute} requests in a minute")

    def _record(self, error: ForbiddenError) -> None:
        with self._lock:
            if not self._recorded.take():
                self._unrecorded += 1
                return
            unrecorded, self._unrecorded = self._unrecorded, 0
        _log.warning("refused: %s (and %d more that are not recorded)", error, unrecorded)
        try:
            self._audit.append("refused", code=error.code, message=error.message[:500], unrecorded=unrecorded)
        except OSError:
            _log.exception("the audit log cannot be written")
