"""Unix sockets whose callers are known by their uid."""

import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final

from taskward.signer.door import SocketDoor
from taskward.signer.errors import SettingsError

_log = logging.getLogger(__name__)
_MAX_PATH_BYTES: Final = 107  # sun_path holds 108 bytes with the final NUL
_BACKLOG: Final = 1024  # in a full one, callers wait for others' connections
_PEER_TIMEOUT_S: Final = 10.0


@contextlib.contextmanager
def listening(door: SocketDoor) -> Iterator[socket.socket]:
    """A listening stream socket at the door's path, with its mode and group; removed at the end.

    A socket left behind by a killed process is replaced; any other kind of file is not.
    Raises `SettingsError` when the socket cannot be made there.
    """
    path = door.path
    if not door.allowed_uids:
        _log.warning("allowed_users is empty: everybody is refused")
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise SettingsError(f"socket path {path} is longer than {_MAX_PATH_BYTES} bytes; choose a shorter one")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        _bind(listener, door)
        try:
            listener.listen(_BACKLOG)
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _bind(listener: socket.socket, door: SocketDoor) -> None:
    path = door.path
    if path.exists() and not path.is_socket():
        raise SettingsError(f"{path} exists and is not a socket; move it away or configure another path")
    umask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        if door.gid is not None:
            os.chown(path, -1, door.gid)
        path.chmod(door.mode)
    except OSError as error:
        raise SettingsError(f"cannot make the socket {path}: {error.strerror}") from error
    finally:
        os.umask(umask)


def callers(
    listener: socket.socket, allowed_uids: frozenset[int], look: Callable[[], None] = lambda: None
) -> Iterator[tuple[socket.socket, int]]:
    """One connection with its caller's uid after the other, for ever; each is closed when the next is asked for.

    Users outside of `allowed_uids` get no byte. Who sends or reads nothing for ten seconds is cut off: TimeoutError.
    Before each, and whenever the listener's own timeout passes without one, `look` is called.
    """
    while True:
        look()
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with connection:
            connection.settimeout(_PEER_TIMEOUT_S)
            uid = peer_uid(connection)
            if uid in allowed_uids:
                yield connection, uid
            else:
                _log.warning("refused a connection of uid %d", uid)


def peer_uid(connection: socket.socket) -> int:
    """The uid of the process at the other end, as the kernel recorded it when that process connected."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return int(uid)
