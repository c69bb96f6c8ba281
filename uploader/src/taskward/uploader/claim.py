"""The right to upload for a run: its newest credentials, for as long as the claim is ours."""

import json
import time
from typing import Final

from redis import Redis

from taskward.core import keys
from taskward.core.connection import text
from taskward.core.ids import RunId
from taskward.core.taskcluster import Credentials
from taskward.uploader.errors import ClaimLost

LOST: Final = "claim-expired"
DECIDED: Final = frozenset({"canceled", "deadline-exceeded"})
_FRESH_S: Final = 0.25


class Claim:
    """Looked up in Redis again and again, since the claimer renews credentials while files are on their way.

    One answer serves the attempts of the next quarter of a second: old credentials go on working for minutes.
    """

    def __init__(self, redis: Redis, run: RunId) -> None:
        self._redis, self.run = redis, run
        self._known: tuple[float, Credentials] | None = None

    def credentials(self) -> Credentials:
        """The newest credentials; ask before each attempt.

        Raises:
            ClaimLost: the claim is over; stop.
        """
        now, known = time.monotonic(), self._known
        if known is None or now - known[0] > _FRESH_S:
            known = self._known = now, self._look_up()
        return known[1]

    def look_up_again(self) -> None:
        """The credentials were of no use: the next attempt gets what is the newest then."""
        self._known = None

    def _look_up(self) -> Credentials:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.get(keys.credentials(self.run.key))
            pipe.hget(keys.task(self.run.key), "abort")
            stored, abort = pipe.execute()
        if stored is None or text(abort) == LOST:
            raise ClaimLost(f"run {self.run}: {'claim expired' if stored else 'no credentials: it is resolved'}")
        return Credentials.parse(json.loads(stored))

    def is_decided(self) -> bool:
        """Whether the queue has resolved the run itself, so that a refusal of its is no news."""
        return text(self._redis.hget(keys.task(self.run.key), "abort")) in DECIDED
