"""The right to upload for a run: its newest credentials, for as long as the claim is ours."""

import json
import time
from typing import Final

from redis import Redis

from taskward.core import keys
from taskward.core.commands import text
from taskward.core.ids import RunId
from taskward.core.taskcluster import Credentials
from taskward.uploader.content import Body, Digest, Send
from taskward.uploader.errors import ClaimLost

LOST: Final = "claim-expired"
DECIDED: Final = frozenset({"canceled", "deadline-exceeded"})
_FRESH_S: Final = 0.5


class Claim:
    """Looked up in Redis again and again, since the claimer renews credentials while files are on their way.

    One answer serves all attempts of the next half second: old credentials go on working for minutes.
    """

    def __init__(self, redis: Redis, run: RunId, until_decided: bool = False) -> None:
        """`until_decided`: for what nobody wants any more once the queue has resolved the run itself."""
        self._redis, self.run = redis, run
        self._over = DECIDED | {LOST} if until_decided else {LOST}
        self._known: tuple[float, Credentials] | None = None

    def credentials(self) -> Credentials:
        """The newest credentials; ask before each attempt, and as often as you like.

        Raises:
            ClaimLost: the claim is over; stop.
        """
        now, known = time.monotonic(), self._known
        if known is None or now - known[0] > _FRESH_S:
            self._known = known and (now, known[1])  # for the other threads, meanwhile
            known = self._known = now, self._look_up()
        return known[1]

    def wait(self, seconds: float) -> None:
        """Sleeps; raises like `credentials`, soon after there is a reason to."""
        end = time.monotonic() + seconds
        while (left_s := end - time.monotonic()) > 0:
            self.credentials()
            time.sleep(min(left_s, _FRESH_S))

    def look_up_again(self) -> None:
        """The credentials were of no use: the next attempt gets what is the newest then."""
        self._known = None

    def _look_up(self) -> Credentials:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.get(keys.credentials(self.run.key))
            pipe.hget(keys.task(self.run.key), "abort")
            stored, abort = pipe.execute()
        if stored is None:
            raise ClaimLost(f"run {self.run}: no credentials: it is resolved")
        if text(abort) in self._over:
            raise ClaimLost(f"run {self.run}: {text(abort)}")
        return Credentials.parse(json.loads(stored))

    def is_decided(self) -> bool:
        """Whether the queue has resolved the run itself, so that a refusal of its is no news."""
        return text(self._redis.hget(keys.task(self.run.key), "abort")) in DECIDED


class ClaimedBody:
    """A body that is poured out only while the claim lasts, see `content.Body`: it may be large, and others wait."""

    def __init__(self, body: Body, claim: Claim) -> None:
        self.length, self._body, self._claim = body.length, body, claim

    def pour(self, send: Send) -> Digest:
        """Raises `ClaimLost`, too; fewer bytes were sent then."""

        def look_and_send(piece: memoryview) -> None:
            self._claim.credentials()
            send(piece)

        return self._body.pour(look_and_send)

    def close(self) -> None:
        """Closes the body."""
        self._body.close()
