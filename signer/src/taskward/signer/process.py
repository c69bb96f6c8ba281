"""What signer, keyholder and decrypter are as processes: command line, log, signals, exit codes, what they give up."""

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from taskward.signer import log
from taskward.signer.errors import AttentionError

_log = logging.getLogger(__name__)
_EXIT_CONFIG: Final = 78  # EX_CONFIG of sysexits.h


def run(module: str, description: str | None, serve: Callable[[Path], None]) -> int:
    """Calls `serve` with the file of ``--config``; SIGTERM and SIGINT end it, and the process with 0.

    Returns the exit code: 0, or 78 for an `AttentionError`, whose text is then the last line of the log.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--config", type=Path, required=True, help="the worker's TOML file")
    config = parser.parse_args().config
    log.configure(module.rpartition(".")[2])
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    os.umask(0o077)
    try:
        serve(config)
    except AttentionError as error:
        _log.critical("%s", error)
        return _EXIT_CONFIG
    return 0


def give_up(*steps: Callable[[], tuple[str, ...]]) -> None:
    """Takes the `steps` of `confine`, one after the other, and logs what this system does not allow."""
    for step in steps:
        for missing in step():
            _log.warning("not available here: %s", missing)


def announce_ready() -> None:
    """Tells systemd that this process serves, where that has started it and waits for it (``Type=notify``)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    name = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(b"READY=1", name)
    except OSError as error:
        _log.warning("systemd is not told that this process is ready: %s", error)


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)
