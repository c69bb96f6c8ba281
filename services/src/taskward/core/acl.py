"""Who may do what in Redis: one user per role, passwords in files that only the role can read.

Keys are those of `keys.py` and of RQ; job ids carry the prefix of the queue that consumes them, since all jobs share
``rq:job:``. FCALL needs read and write rights on every key that it declares, and the commands inside a function are
checked against the caller, too.
"""

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from taskward.core.jobs import EXECUTE, UPLOAD, Queue

_BASE: Final = (
    "-@all +hello +auth +ping +info +client|setname +client|id +client|info +multi +exec +discard +watch +unwatch"
)
_WORK: Final = (
    "+hset +hget +hmget +hgetall +hdel +hexists +hincrby +hincrbyfloat +exists +expire +persist +del +lmove +blmove "
    "+lrange +lrem +rpush +llen +sadd +srem +smembers +sismember +set +get +scard +zadd +zrem +zrange +zrangebyscore "
    "+zremrangebyscore +zscore +zcard +xadd +xrevrange +publish"
)
_FUNCTIONS: Final = "+fcall +time +hsetnx"
_REAP: Final = (
    "+zrange +zscore +zrem +zadd +lrange +lrem +lpush +hincrby +llen "
    "~rq:wip:* ~rq:failed:* ~rq:queue:* ~rq:job:* %R~rq:execution:*"
)


def _consume(queue: Queue, worker: str) -> str:
    q, p = queue.name, queue.prefix
    registries = " ".join(f"~rq:{name}:{q}" for name in ("wip", "finished", "failed", "deferred", "scheduled", "canceled", "ready"))  # fmt: skip  # noqa: E501
    return (
        f"~rq:queue:{q} ~rq:queue:{q}:intermediate ~rq:queue:{q}:intermediate:first_seen:{p}-* ~rq:job:{p}-* "
        f"~rq:job::{p}-* ~rq:results:{p}-* ~rq:execution:{p}-* ~rq:executions:{p}-* {registries} "
        f"~rq:worker:{worker}-* ~rq:queues %R~rq:groups %R~rq:rl-keys"
    )


def _produce(queue: Queue) -> str:
    return f"~rq:queue:{queue.name} ~rq:job:{queue.prefix}-* ~rq:queues"


# Nobody can be this user, but Redis replays the transactions of its own append-only file with its rights: if they were
# taken away, a restart would silently drop every MULTI block, which is what each function and each RQ pipeline writes.
_DEFAULT: Final = "user default off resetpass ~* &* +@all"

ROLES: Final[Mapping[str, str]] = {
    "claimer": (
        f"{_FUNCTIONS} +hset +hget +hmget +hgetall +hexists +hdel +exists +expire +del +set +get +sadd +srem "
        f"+smembers +scard +rpush +blpop +lpop +publish {_produce(EXECUTE)} ~tw:task:* ~tw:run:* ~tw:upload:* ~tw:runs "
        f"~tw:inbox ~tw:creds:* ~tw:drain ~tw:pending:* ~tw:manifest:* ~tw:notes:* &tw:creds {_REAP}"
    ),
    "executor": (
        f"{_FUNCTIONS} {_WORK} {_consume(EXECUTE, 'executor')} {_produce(UPLOAD)} "
        f"%R~tw:task:* ~tw:run:* ~tw:upload:* %R~tw:runs ~tw:inbox ~tw:pending:* ~tw:peer:* ~tw:log:* ~tw:shell:*"
    ),
    "uploader": (
        f"{_FUNCTIONS} {_WORK} {_consume(UPLOAD, 'uploader')} "
        f"%R~tw:task:* %R~tw:run:* ~tw:upload:* %R~tw:runs ~tw:inbox %R~tw:creds:* ~tw:pending:* ~tw:manifest:* "
        "~tw:notes:*"
    ),
    "proxy": (
        "+get +hgetall +hget +hset +hdel +subscribe +unsubscribe %R~tw:peer:* %R~tw:creds:* ~tw:devices &tw:creds"
    ),
    "gateway": "+get %R~tw:log:* %R~tw:shell:*",
    "monitor": (
        "+llen +zcard +scard +smembers +hmget +exists +ping %R~rq:queue:* %R~rq:wip:* %R~rq:failed:* %R~tw:runs "
        "%R~tw:task:* %R~tw:run:* %R~tw:upload:* %R~tw:drain"
    ),
}


def write_acl(acl_file: Path, password_files: Mapping[str, Path]) -> None:
    """Writes the ACL file; passwords that exist are kept, missing ones are made (owner and mode are the caller's).

    Args:
        acl_file: read by Redis alone; holds hashes only.
        password_files: role (and ``admin``) → its password file.
    """
    lines = [_DEFAULT]
    for role, path in password_files.items():
        rule = "~* &* +@all" if role == "admin" else f"{_BASE} {ROLES[role]}"
        lines.append(f"user {role} on #{_hash(_password(path))} resetkeys resetchannels {rule}")
    _write(acl_file, "\n".join(lines) + "\n")


def _password(path: Path) -> str:
    if not path.exists():
        _write(path, secrets.token_urlsafe(32))
    return path.read_text()


def _hash(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
    with os.fdopen(fd, "w") as stream:
        stream.write(text)
    draft.rename(path)
