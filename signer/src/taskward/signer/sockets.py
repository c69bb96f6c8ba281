"""Unix sockets whose callers are known by their uid."""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from taskward.signer.sections import SettingsError

_MAX_PATH_BYTES = 107  # sun_path holds 108 bytes with the final NUL
_BACKLOG = 64


@contextlib.contextmanager
def listening(path: Path, mode: int, gid: int | None) -> Iterator[socket.socket]:
    """A listening stream socket at `path` with this mode and group; removed at the end.

    A socket left behind by a killed process is replaced; any other kind of file is not.
    Raises `SettingsError` when the socket cannot be made there.
    """
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise SettingsError(f"socket path {path} is longer than {_MAX_PATH_BYTES} bytes; choose a shorter one")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        _bind(listener, path, mode, gid)
        try:
            listener.listen(_BACKLOG)
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _bind(listener: socket.socket, path: Path, mode: int, gid: int | None) -> None:
    if path.exists() and not path.is_socket():
        raise SettingsError(f"{path} exists and is not a socket; move it away or configure another path")
    umask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        if gid is not None:
            os.chown(path, -1, gid)
        path.chmod(mode)
    except OSError as error:
        raise SettingsError(f"cannot make the socket {path}: {error.strerror}") from error
    finally:
        os.umask(umask)


def peer_uid(connection: socket.socket) -> int:
    """The uid of the process at the other end, as the kernel recorded it when that process connected."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return int(uid)
