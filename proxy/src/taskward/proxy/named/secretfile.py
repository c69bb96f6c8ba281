"""A secret that only the proxy may read, in a file."""

from pathlib import Path
from typing import Final

from taskward.proxy.errors import StartError

_OTHERS: Final = 0o077
_MAX_BYTES: Final = 64 * 1024


def read(path: Path, where: str) -> str:
    """What stands in it, without blanks at both ends; read anew each time, so that it may be replaced.

    StartError, beginning with the setting's name `where`, when it cannot be read, is empty, or is open to others.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(_MAX_BYTES).decode().strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"{where}: {error}") from error
    if mode & _OTHERS:
        raise StartError(f"{where}: others than its owner may read {path}; chmod 400 {path}")
    if not text:
        raise StartError(f"{where}: {path} is empty")
    return text
