"""``python -m taskward.cli.redis --config FILE``: becomes the Redis server, with our functions loaded.

The server listens under a hidden name first. A short-lived child loads the functions there and then gives the socket
its proper name, so that nobody ever meets a server without them: not at the first start, not after its data was lost.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Final, NoReturn

from redis.exceptions import RedisError

from taskward.cli.provision import hidden_socket
from taskward.core.connection import RedisAddress, connect, load_functions
from taskward.core.errors import ConfigurationError
from taskward.core.poll import until
from taskward.core.redis_server import find_server
from taskward.core.settings import Settings

_READY_WITHIN_S: Final = 60.0


def publish(address: RedisAddress, public: Path) -> None:
    """Loads the functions through the hidden socket, then renames it to `public`.

    Raises:
        TimeoutError: the server did not listen in time.
        RedisError: it refused the functions.
    """
    if not until(address.socket.is_socket, _READY_WITHIN_S, pause_s=0.005):
        raise TimeoutError(f"{address.socket}: the server does not listen")
    load_functions(connect(address))
    address.socket.rename(public)


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
    hidden = hidden_socket(settings)
    hidden.unlink(missing_ok=True)  # left by a killed server: it must not be taken for the new one's
    _in_background(RedisAddress(hidden, "admin", settings.layout.redis_password("admin")), settings.layout.redis_socket)
    configuration = settings.layout.redis_password("admin").with_name("redis.conf")
    os.execv(server, [str(server), str(configuration)])  # noqa: S606 - the server is this process from now on


def _in_background(address: RedisAddress, public: Path) -> None:
    """Forks twice: the server must not be left with a child that it does not know."""
    server = os.getpid()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    if os.fork():
        os._exit(0)
    try:
        publish(address, public)
    except (OSError, RedisError) as error:
        print(f"redis: functions not loaded: {error}", file=sys.stderr)  # noqa: T201 - goes to the server's log
        os.kill(server, 15)  # a server without functions is of no use; the supervisor starts it again
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
