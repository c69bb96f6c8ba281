"""Unix sockets of a run, offered to others."""

import os
import socket
from pathlib import Path
from typing import Final

from taskward.core.shell import short_address

_BACKLOG: Final = 128


def listener(path: Path, kind: int, mode: int, gid: int | None = None) -> socket.socket:
    """A socket of `kind` that listens at `path`; it gets there when it does, so whoever sees it can connect.

    `mode` holds from its first moment on, and with `gid` so does root's and that group's possession. What a killed
    process left at `path` is replaced.

    Raises:
        OSError: it cannot be made there.
    """
    unfinished = path.with_name(f".{path.name}")
    made = socket.socket(socket.AF_UNIX, kind)
    try:
        unfinished.unlink(missing_ok=True)
        with short_address(unfinished) as address:
            made.bind(address)
        if gid is not None:
            os.chown(unfinished, 0, gid, follow_symlinks=False)
        unfinished.chmod(mode)
        made.listen(_BACKLOG)
        unfinished.rename(path)
    except BaseException:
        made.close()
        raise
    return made
