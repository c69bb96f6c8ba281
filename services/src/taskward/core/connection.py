"""The Redis connection of a role: Unix socket, own user, retries that outlast a restart of the server.

Retrying is safe because every step of ours may be delivered twice (`functions.lua`).
"""

from pathlib import Path
from typing import Final

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from taskward.core.address import RedisAddress

ANSWERS_WITHIN_S: Final = 15.0
"""How long an answer may take; commands that wait on the server must be asked to wait for less."""

_RETRIES: Final = 120
_LONGEST_PAUSE_S: Final = 1.0
_FIRST_PAUSE_S: Final = 0.02


def connect(address: RedisAddress) -> Redis:
    """A client that waits about two minutes for a server that is away, or full, before it gives up.

    Raises:
        OSError: the password file cannot be read.
    """
    return Redis(
        unix_socket_path=str(address.socket),
        username=address.user,
        password=address.password_file.read_text().strip(),
        retry=Retry(ExponentialBackoff(cap=_LONGEST_PAUSE_S, base=_FIRST_PAUSE_S), _RETRIES),
        retry_on_error=[RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ConnectionError, FileNotFoundError],
        socket_timeout=ANSWERS_WITHIN_S,
        health_check_interval=0,
    )


def load_functions(redis: Redis) -> None:
    """Loads `functions.lua` (the administrator's right), replacing an older version.

    Raises:
        ResponseError: the server refused the library.
    """
    redis.function_load((Path(__file__).parent / "functions.lua").read_text(), replace=True)
