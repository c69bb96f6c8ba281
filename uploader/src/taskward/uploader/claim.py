"""The right to upload for a run: its newest credentials, for as long as the claim is ours."""

import json
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis

from taskward.core import keys
from taskward.core.connection import text
from taskward.core.ids import RunId
from taskward.core.taskcluster import Credentials
from taskward.uploader.errors import ClaimLost

LOST: Final = "claim-expired"
DECIDED: Final = frozenset({"canceled", "deadline-exceeded"})


@dataclass(frozen=True)
class Claim:
    """Looked up in Redis at each use, since the claimer renews credentials while files are on their way."""

    redis: Redis
    run: RunId

    def credentials(self) -> Credentials:
        """The newest credentials; ask before each attempt.

        Raises:
            ClaimLost: the claim is over; stop.
        """
        return Credentials.parse(self.raw())

    def raw(self) -> dict[str, Any]:
        """The newest credentials as the queue gave them; raises like `credentials`."""
        with self.redis.pipeline(transaction=False) as pipe:
            pipe.get(keys.credentials(self.run.key))
            pipe.hget(keys.run(self.run.key), "abort")
            stored, abort = pipe.execute()
        if stored is None or text(abort) == LOST:
            raise ClaimLost(f"run {self.run}: {'claim expired' if stored else 'no credentials: it is resolved'}")
        data: dict[str, Any] = json.loads(stored)
        return data

    def is_decided(self) -> bool:
        """Whether the queue has resolved the run itself, so that a refusal of its is no news."""
        return text(self.redis.hget(keys.run(self.run.key), "abort")) in DECIDED
