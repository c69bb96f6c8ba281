"""``python -m taskward.gateway --config FILE``."""

import argparse
import logging
import os
import resource
import sys
from pathlib import Path
from typing import Final

from taskward.core import log
from taskward.core.errors import ConfigurationError
from taskward.gateway.front import GatewayServer
from taskward.gateway.settings import Settings
from taskward.gateway.tokens import RedisRegistry

EXIT_CONFIGURATION: Final = 64
NICENESS: Final = 10
"""A task's own work goes before the reading of its log: on a busy machine readers lag instead of slowing the task."""

_OTHER_DESCRIPTORS: Final = 8192  # waiting connections, files of logs, Redis


def main() -> int:
    """Serve until SIGTERM; 64 when the configuration cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m taskward.gateway", description="Serves live logs of running tasks."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the worker's TOML file")
    arguments = parser.parse_args()
    log.configure("gateway")
    try:
        settings = Settings.load(arguments.config)
        registry = RedisRegistry(settings)
        _allow_descriptors(settings.limits.max_readers + _OTHER_DESCRIPTORS)
    except ConfigurationError as error:
        print(f"gateway: {error}", file=sys.stderr)  # noqa: T201  # a person reads this
        return EXIT_CONFIGURATION
    logging.getLogger("taskward.gateway").info("live logs at %s/log/<token>", settings.base_url)
    os.nice(NICENESS)
    GatewayServer(settings, registry).run()
    return 0


def _allow_descriptors(count: int) -> None:
    """Raise the soft limit of open files; a reader needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise ConfigurationError(
            f"[gateway] max_readers: needs {count} open files, the limit is {hard}; "
            "lower max_readers, or raise the limit (ulimit -Hn, or minfds in supervisord.conf)"
        )
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


if __name__ == "__main__":
    sys.exit(main())
