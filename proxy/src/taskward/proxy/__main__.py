"""``python -m taskward.proxy --config FILE``: run the proxy of all tasks in the foreground."""

import argparse
import logging
import sys
from pathlib import Path

from taskward.proxy import log, settings
from taskward.proxy.errors import StartError
from taskward.proxy.server import ProxyServer

_CONFIGURATION_ERROR = 78  # EX_CONFIG of sysexits.h


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; 0 after that, 78 when it cannot start as configured."""
    parser = argparse.ArgumentParser(
        prog="python -m taskward.proxy",
        description="The taskclusterProxy: signs and forwards API calls of running tasks.",
        epilog="Reads [taskcluster] root_url and [proxy] of the worker's configuration file.",
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the worker's TOML file")
    chosen = parser.parse_args(arguments)
    log.configure("proxy")
    try:
        server = ProxyServer(settings.load(chosen.config))
    except StartError as error:
        logging.getLogger("taskward.proxy").critical("%s", error)
        return _CONFIGURATION_ERROR
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
