"""``python -m taskward.signer.decrypter --config FILE``.

Exits 0 after SIGTERM or SIGINT, 78 when the configuration, the key or the audit log needs fixing.
"""

import argparse
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from taskward.signer.audit import AuditLog, BrokenChainError
from taskward.signer.confine import drop_privileges
from taskward.signer.decrypter.server import in_a_process, serve
from taskward.signer.decrypter.settings import DecrypterSettings
from taskward.signer.keyholder import keyfiles
from taskward.signer.keyholder.errors import UnusableKeyError
from taskward.signer.sections import SettingsError
from taskward.signer.sockets import listening

_log = logging.getLogger("decrypter")
_EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
_SOUND = "sound"


def main() -> int:
    """Make or prove the key, publish its public half, then serve."""
    parser = argparse.ArgumentParser(prog="python -m taskward.signer.decrypter", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the worker's TOML file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    os.umask(0o077)
    try:
        _run(DecrypterSettings.read(arguments.config))
    except (SettingsError, UnusableKeyError, BrokenChainError) as error:
        print(f"decrypter: {error}", file=sys.stderr)  # noqa: T201
        return _EXIT_CONFIG


def _run(settings: DecrypterSettings) -> NoReturn:
    if not settings.allowed_uids:
        _log.warning("allowed_users is empty: everybody is refused")
    for missing in drop_privileges():
        _log.warning("not available here: %s", missing)
    keyfiles.make_directory(settings.keys_dir, 0o700)
    keyfiles.make_directory(settings.public_keys_dir, 0o755)
    keyfiles.check_private_tree(settings.keys_dir)
    held = keyfiles.lock(settings.keys_dir)
    in_a_process(lambda parent: _prepare_key(settings, parent), _require_sound)
    try:
        audit = AuditLog(settings.keys_dir / "audit.jsonl")
    except OSError as error:
        raise SettingsError(f"cannot open the audit log in keys_dir {settings.keys_dir}: {error.strerror}") from error
    with listening(settings.socket, settings.socket_mode, settings.socket_gid) as listener:
        _log.info("ready at %s, lock %d", settings.socket, held)
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


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
