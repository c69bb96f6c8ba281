"""``python -m taskward.signer.decrypter --config FILE``.

Exits 0 after SIGTERM or SIGINT, 78 when the configuration, the key or the audit log needs fixing.
"""

import logging
import socket
import sys
from pathlib import Path

from taskward.signer.audit import AuditLog
from taskward.signer.confine import drop_privileges
from taskward.signer.decrypter.server import in_a_process, serve
from taskward.signer.decrypter.settings import DecrypterSettings
from taskward.signer.errors import SettingsError, UnusableKeyError
from taskward.signer.keyholder import keyfiles
from taskward.signer.process import give_up, run
from taskward.signer.sockets import listening

_log = logging.getLogger("decrypter")
_SOUND = "sound"


def main() -> int:
    """Make or prove the key, publish its public half, then serve."""
    return run("taskward.signer.decrypter", __doc__, _serve)


def _serve(config: Path) -> None:
    settings = DecrypterSettings.read(config)
    give_up(drop_privileges)
    private = settings.keys.private_dir
    held = keyfiles.hold(private)
    keyfiles.make_directory(settings.keys.public_dir, 0o755)
    in_a_process(lambda parent: _prepare_key(settings, parent), _require_sound)
    try:
        audit = AuditLog(private / "audit.jsonl")
    except OSError as error:
        raise SettingsError(f"cannot open the audit log in keys_dir {private}: {error.strerror}") from error
    with listening(settings.door) as listener:
        _log.info("ready at %s, lock %d", settings.door.path, held)
        serve(listener, settings, audit)


def _require_sound(report: str) -> None:
    if report != _SOUND:
        raise UnusableKeyError(report or "the key cannot be prepared; the reason is in the log")


def _prepare_key(settings: DecrypterSettings, parent: socket.socket) -> None:
    """In a process of its own: what it takes to make a key is not kept in memory."""
    from taskward.signer.decrypter.opening import prepare_key

    try:
        prepare_key(settings)
        problem = _SOUND
    except (UnusableKeyError, OSError) as error:
        problem = str(error)[:2000]
    parent.send(problem.encode("utf-8", "replace"))


if __name__ == "__main__":
    sys.exit(main())
