"""``python -m taskward.gateway --config FILE``."""

import argparse
import logging
import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from taskward.core import log
from taskward.core.errors import ConfigurationError
from taskward.gateway.front import MAX_PENDING, GatewayServer
from taskward.gateway.settings import Settings
from taskward.gateway.tokens import RedisRegistry

EXIT_CONFIGURATION: Final = 64
_OTHER_DESCRIPTORS: Final = 2 * MAX_PENDING  # connections that wait or leave, files of logs, Redis
_log = logging.getLogger("taskward.gateway")


def main() -> int:
    """Serve until SIGTERM; 64 when the configuration cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m taskward.gateway", description="Serves live logs of running tasks."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the worker's TOML file")
    arguments = parser.parse_args()
    log.configure("gateway")
    try:
        settings = _fit_descriptors(Settings.load(arguments.config))
        registry = RedisRegistry(settings)
    except ConfigurationError as error:
        print(f"gateway: {error}", file=sys.stderr)  # noqa: T201  # a person reads this
        return EXIT_CONFIGURATION
    _log.info("live logs at %s/log/<token>", settings.base_url)
    GatewayServer(settings, registry).run()
    return 0


def _fit_descriptors(settings: Settings) -> Settings:
    """Raise the soft limit of open files for all readers; where the hard limit is too low, allow fewer readers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_readers + _OTHER_DESCRIPTORS
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == wanted:
        return settings
    fitting = max(allowed - _OTHER_DESCRIPTORS, allowed // 2)
    if fitting >= settings.max_readers:
        return settings
    _log.warning(
        "max_readers lowered from %d to %d: only %d files may be open; raise the limit (ulimit -Hn)",
        settings.max_readers,
        fitting,
        hard,
    )
    return replace(settings, max_readers=fitting)


if __name__ == "__main__":
    sys.exit(main())
