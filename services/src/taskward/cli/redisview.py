"""What Redis tells about the worker: queues, runs, whether it is draining."""

from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from taskward.core import keys
from taskward.core.address import RedisAddress
from taskward.core.commands import text
from taskward.core.ids import RunId
from taskward.core.jobs import QUEUES
from taskward.core.record import Records

DRAINED: Final = "the worker is drained: it claims nothing, also after a restart; undo it with: taskward drain --undo"

_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True)
class QueueLength:
    """Jobs of one queue: waiting for a process, being worked on, given up."""

    name: str
    waiting: int
    active: int
    failed: int


@dataclass(frozen=True)
class ActiveRun:
    """A run that is claimed and not yet resolved."""

    taskId: str  # noqa: N815 - the field's word in JSON
    runId: int  # noqa: N815
    phase: str
    takenUntil: str  # noqa: N815


@dataclass(frozen=True)
class View:
    """One look at Redis; `draining` is whether nothing more is claimed, until ``taskward drain --undo``."""

    queues: tuple[QueueLength, ...]
    runs: tuple[ActiveRun, ...]
    draining: bool

    @classmethod
    def take(cls, redis: Redis) -> Self:
        """Looks; nothing is changed.

        Raises:
            RedisError, OSError: no answer.
        """
        active = sorted(text(key) for key in redis.smembers(keys.RUNS))
        queues = tuple(_length(redis, queue.name) for queue in QUEUES)
        return cls(queues, tuple(_run(redis, key) for key in active), bool(redis.exists(keys.DRAIN)))

    def to_json(self) -> dict[str, Any]:
        """The part of ``taskward status --json``."""
        runs = [asdict(each) for each in self.runs]
        return {"draining": self.draining, "queues": [asdict(each) for each in self.queues], "runs": runs}


def look(address: RedisAddress) -> View | None:
    """A view, or None when Redis does not answer."""
    try:
        with quick(address) as redis:
            return View.take(redis)
    except (RedisError, OSError):
        return None


def is_draining(address: RedisAddress) -> bool:
    """Whether it is known that nothing more is claimed."""
    view = look(address)
    return view is not None and view.draining


def quick(address: RedisAddress) -> Redis:
    """A client that gives up soon: a person waits for it.

    Raises:
        OSError: the password file cannot be read.
    """
    return Redis(
        unix_socket_path=str(address.socket), username=address.user, password=address.password_file.read_text().strip(),
        socket_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0),
    )  # fmt: skip


def _length(redis: Redis, name: str) -> QueueLength:
    waiting = int(redis.llen(f"rq:queue:{name}"))
    return QueueLength(name, waiting, int(redis.zcard(f"rq:wip:{name}")), int(redis.zcard(f"rq:failed:{name}")))


def _run(redis: Redis, key: str) -> ActiveRun:
    run = RunId.parse(key)
    return ActiveRun(run.task_id, run.run_id, *Records(redis).standing(run))
