"""What has become of each artifact of a run: the memory that outlives an uploader.

One field an artifact name in ``tw:manifest:RUN``. A field is written after the upload, so a lost process costs at
most the transfers that were under way and the few that were about to be recorded. Object storage needs two steps
before (`asking`, `begin`): the queue hands out an upload once only.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from redis import Redis

from taskward.core import keys
from taskward.core.connection import text
from taskward.core.ids import RunId

Storage = Literal["s3", "object", "error", "link", "none"]
STORED: Final = frozenset({"s3", "object"})
_BEGUN: Final = "begun"


@dataclass(frozen=True)
class Sent:
    """An artifact that is done with.

    Attributes:
        storage: where it is; ``none`` when it was given up.
        entry: position in the outbox' index; -1 for what the uploader itself adds.
        content_type: as the queue knows it.
        sha256: lower-case hex, of the content before gzip; empty where there is no content, or nobody asks for it.
        size_bytes: of that content.
    """

    storage: Storage
    entry: int = -1
    content_type: str = ""
    sha256: str = ""
    size_bytes: int = 0


class Manifest:
    """The manifest of one run; safe to use from several threads and processes."""

    def __init__(self, redis: Redis, run: RunId) -> None:
        self._redis, self._key = redis, keys.manifest(run.key)

    def read(self) -> dict[str, Sent]:
        """Every artifact that is done with, by name."""
        fields = {text(name): json.loads(value) for name, value in self._redis.hgetall(self._key).items()}
        return {name: Sent(**value) for name, value in fields.items() if _BEGUN not in value}

    def record(self, name: str, sent: Sent) -> None:
        """The artifact is done with."""
        self.record_all([(name, sent)])

    def record_all(self, done: Iterable[tuple[str, Sent]]) -> None:
        """These artifacts are done with: all of them at once, in one answer of Redis."""
        fields: dict[Any, Any] = {name: json.dumps(vars(sent)) for name, sent in done}
        if fields:
            self._redis.hset(self._key, mapping=fields)

    def asking(self, name: str) -> None:
        """The queue is about to be asked for an object upload."""
        self.begin(name, {})

    def begin(self, name: str, answer: Mapping[str, Any]) -> None:
        """Keeps the queue's answer for an object upload, before anything is sent."""
        self._redis.hset(self._key, name, json.dumps({_BEGUN: dict(answer)}))

    def begun(self, name: str) -> dict[str, Any] | None:
        """The answer that `begin` kept, if the upload is not done; empty after `asking` alone."""
        value = self._redis.hget(self._key, name)
        answer: dict[str, Any] | None = json.loads(value).get(_BEGUN) if value else None
        return answer
