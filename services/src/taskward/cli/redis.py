"""``python -m taskward.cli.redis --config FILE``: becomes the Redis server, with our functions loaded.

The server listens under a hidden name first. A short-lived child loads the functions there and then gives the socket
its proper name, so that nobody ever meets a server without them: not at the first start, not after its data was lost.
"""

import argparse
import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from taskward.cli.provision import hidden_socket
from taskward.core.address import RedisAddress
from taskward.core.connection import ANSWERS_WITHIN_S, load_functions
from taskward.core.errors import ConfigurationError
from taskward.core.poll import until
from taskward.core.redis_server import find_server
from taskward.core.settings import Settings

_READY_WITHIN_S: Final = 60.0
_UMASK: Final = 0o077


def publish(address: RedisAddress, public: Path, has_ended: Callable[[], bool] = lambda: False) -> None:
    """Loads the functions through the hidden socket, then renames it to `public`.

    Raises:
        TimeoutError: the server did not listen in time, or has ended.
        RedisError: it refused the functions.
    """
    until(lambda: address.socket.is_socket() or has_ended(), _READY_WITHIN_S, pause_s=0.005)
    if has_ended() or not address.socket.is_socket():
        raise TimeoutError(f"{address.socket}: the server does not listen")
    password = address.password_file.read_text().strip()
    server = Redis(
        unix_socket_path=str(address.socket), username=address.user, password=password,
        retry=Retry(NoBackoff(), 0),  # a server that dies over it is started again, with another child
        socket_timeout=ANSWERS_WITHIN_S, socket_connect_timeout=ANSWERS_WITHIN_S,
    )  # fmt: skip
    if not until(lambda: has_ended() or _answers(server), _READY_WITHIN_S, pause_s=0.02) or has_ended():
        raise TimeoutError(f"{address.socket}: the server does not answer")
    load_functions(server)
    address.socket.rename(public)


def _answers(server: Redis) -> bool:
    """Not between the birth of its socket and its first look at it, and not while it reads its data."""
    try:
        return bool(server.ping())
    except (RedisConnectionError, RedisTimeoutError):
        return False


def main() -> NoReturn:
    """Exits 64 when no server can be started; else the process becomes the server."""
    parser = argparse.ArgumentParser(prog="python -m taskward.cli.redis", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the resolved configuration")
    arguments = parser.parse_args()
    try:
        settings = Settings.load(arguments.config)
        server = find_server()
    except ConfigurationError as error:
        print(f"redis: {error}", file=sys.stderr)  # noqa: T201 - before there is a server with a log
        sys.exit(64)
    os.umask(_UMASK)
    hidden = hidden_socket(settings)
    hidden.unlink(missing_ok=True)  # left by a killed server: it must not be taken for the new one's
    _in_background(RedisAddress(hidden, "admin", settings.layout.redis_password("admin")), settings.layout.redis_socket)
    configuration = settings.layout.redis_password("admin").with_name("redis.conf")
    os.execv(server, [str(server), str(configuration)])  # noqa: S606 - the server is this process from now on


def _in_background(address: RedisAddress, public: Path) -> None:
    """Forks twice: the server must not be left with a child that it does not know."""
    server = os.pidfd_open(os.getpid())
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.close(server)
        return
    if os.fork():
        os._exit(0)
    try:
        publish(address, public, lambda: bool(select.select([server], [], [], 0)[0]))
    except (OSError, RedisError) as error:
        print(f"redis: functions not loaded: {error}", file=sys.stderr)  # noqa: T201 - goes to the server's log
        with contextlib.suppress(ProcessLookupError):  # a server without functions is of no use: another is started
            signal.pidfd_send_signal(server, signal.SIGTERM)
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
