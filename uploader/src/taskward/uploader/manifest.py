"""What has become of each artifact of a run: the memory that outlives an uploader.

One short field an artifact in ``tw:manifest:RUN``, since a run may have very many: their names and content types stand
in the outbox' index. A field is written after the upload, so a lost process costs at most the transfers that were under
way and the few that were about to be recorded. Object storage needs two steps before (`asking`, `begin`): the queue
hands out an upload once only.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from redis import Redis

from taskward.core import keys
from taskward.core.commands import text
from taskward.core.ids import RunId

Storage = Literal["s3", "object", "error", "link", "none"]
Place = tuple[int, str]
"""Of an artifact: its position in the outbox' index (`OWN` for what the uploader itself adds), and its name."""
STORED: Final = frozenset({"s3", "object"})
OWN: Final = -1
_ASKED_AT_ONCE: Final = 1000
_FIELD_BYTES: Final = 12
_BEGUN: Final = "{"


@dataclass(frozen=True)
class Sent:
    """An artifact that is done with.

    Attributes:
        storage: where it is; ``none`` when it was given up.
        entry: position in the outbox' index; `OWN` for what the uploader itself adds.
        sha256: lower-case hex, of the content before gzip; empty where there is no content, or nobody asks for it.
        size_bytes: of that content.
    """

    storage: Storage
    entry: int = OWN
    sha256: str = ""
    size_bytes: int = 0


class Manifest:
    """The manifest of one run; safe to use from several threads and processes."""

    def __init__(self, redis: Redis, run: RunId) -> None:
        self._redis, self._key = redis, keys.manifest(run.key)

    def done(self, places: Iterable[Place]) -> dict[str, Sent]:
        """Those of the artifacts that are done with, by name."""
        wanted, found = list(places), dict[str, Sent]()
        for first in range(0, len(wanted), _ASKED_AT_ONCE):
            some = wanted[first : first + _ASKED_AT_ONCE]
            values = self._redis.hmget(self._key, [_field(place) for place in some])
            for (entry, name), value in zip(some, values, strict=True):
                if value and not text(value).startswith(_BEGUN):
                    found[name] = _unpacked(entry, text(value))
        return found

    def has(self, name: str) -> bool:
        """Whether an artifact that the uploader itself adds is done with."""
        return name in self.done([(OWN, name)])

    def record(self, name: str, sent: Sent) -> None:
        """The artifact is done with."""
        self.record_all([(name, sent)])

    def record_all(self, done: Iterable[tuple[str, Sent]]) -> None:
        """These artifacts are done with: all of them at once, in one answer of Redis."""
        fields: dict[Any, Any] = {_field((sent.entry, name)): _packed(sent) for name, sent in done}
        if fields:
            self._redis.hset(self._key, mapping=fields)

    def asking(self, place: Place) -> None:
        """The queue is about to be asked for an object upload."""
        self.begin(place, {})

    def begin(self, place: Place, answer: Mapping[str, Any]) -> None:
        """Keeps the queue's answer for an object upload, before anything is sent."""
        self._redis.hset(self._key, cast(str, _field(place)), json.dumps(dict(answer)))

    def begun(self, place: Place) -> dict[str, Any] | None:
        """The answer that `begin` kept, if the upload is not done; empty after `asking` alone."""
        value = text(self._redis.hget(self._key, cast(str, _field(place))))
        answer: dict[str, Any] | None = json.loads(value) if value.startswith(_BEGUN) else None
        return answer


def _field(place: Place) -> bytes:
    entry, name = place
    return hashlib.blake2b(f"{entry} {name}".encode(errors="surrogatepass"), digest_size=_FIELD_BYTES).digest()


def _packed(sent: Sent) -> str:
    return f"{sent.storage} {sent.size_bytes} {base64.b64encode(bytes.fromhex(sent.sha256)).decode()}"


def _unpacked(entry: int, value: str) -> Sent:
    storage, size, digest = value.split(" ")
    return Sent(cast(Storage, storage), entry, base64.b64decode(digest).hex(), int(size))
