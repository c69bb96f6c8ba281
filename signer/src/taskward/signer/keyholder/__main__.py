"""``python -m taskward.signer.keyholder --config FILE``.

Exits 0 after SIGTERM or SIGINT, 78 when the configuration or a key needs fixing.
"""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from taskward.signer.confine import drop_privileges, leave_network
from taskward.signer.keyholder.errors import UnusableKeyError
from taskward.signer.keyholder.keyring import Keyring
from taskward.signer.keyholder.server import serve
from taskward.signer.keyholder.settings import KeyholderSettings
from taskward.signer.sections import SettingsError
from taskward.signer.sockets import listening

_log = logging.getLogger("keyholder")
_EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h


def main() -> int:
    """Load or make the keys, publish their public halves, then serve."""
    parser = argparse.ArgumentParser(prog="python -m taskward.signer.keyholder", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the worker's TOML file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    os.umask(0o077)
    try:
        _run(KeyholderSettings.read(arguments.config))
    except (SettingsError, UnusableKeyError) as error:
        print(f"keyholder: {error}", file=sys.stderr)  # noqa: T201
        return _EXIT_CONFIG


def _run(settings: KeyholderSettings) -> NoReturn:
    if not settings.allowed_uids:
        _log.warning("allowed_users is empty: everybody is refused")
    for missing in (*drop_privileges(), *leave_network()):
        _log.warning("not available here: %s", missing)
    with Keyring(settings) as keyring:
        keyring.publish(settings.public_keys_dir)
        with listening(settings.socket, settings.socket_mode, settings.socket_gid) as listener:
            _log.info("ready at %s", settings.socket)
            serve(listener, keyring, settings.allowed_uids)


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
