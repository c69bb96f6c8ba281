"""``python -m taskward.signer.keyholder --config FILE``.

Exits 0 after SIGTERM or SIGINT, 78 when the configuration or a key needs fixing: at the start, or later, when a key
has expired or signs no more.
"""

import logging
import sys
from pathlib import Path

from taskward.signer.confine import drop_privileges, leave_network
from taskward.signer.keyholder.keyring import Keyring
from taskward.signer.keyholder.server import serve
from taskward.signer.keyholder.settings import KeyholderSettings
from taskward.signer.process import announce_ready, give_up, run
from taskward.signer.sockets import listening

_log = logging.getLogger("keyholder")


def main() -> int:
    """Load or make the keys, publish their public halves, then serve."""
    return run("taskward.signer.keyholder", __doc__, _serve)


def _serve(config: Path) -> None:
    settings = KeyholderSettings.read(config)
    give_up(drop_privileges, leave_network)
    with Keyring(settings) as keyring:
        keyring.publish(settings.keys.public_dir)
        with listening(settings.door) as listener:
            _log.info("ready at %s", settings.door.path)
            announce_ready()
            serve(listener, keyring, settings.door.allowed_uids)


if __name__ == "__main__":
    sys.exit(main())
