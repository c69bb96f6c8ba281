"""The signer's door for other hosts: TLS 1.3, and nobody without a certificate of our own authority."""

import logging
import socket
import ssl
from pathlib import Path
from typing import Final

from taskward.signer.door import TlsDoor
from taskward.signer.errors import SettingsError

_log = logging.getLogger(__name__)
_BACKLOG: Final = 1024  # in a full one, callers wait for others' connections


def listening(door: TlsDoor) -> socket.socket:
    """Raises `SettingsError` for an address that is not ours or in use, and for files that cannot be used."""
    if not door.allowed_clients:
        _log.warning("allowed_clients is empty: everybody is refused")
    _check(door)
    listener = socket.socket(socket.AF_INET6 if ":" in door.host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((door.host, door.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(f"cannot listen on {door.host} port {door.port}: {error.strerror}") from error
    return listener


class Contexts:
    """The `context` of the door's files as they are now: they may be replaced while we run."""

    def __init__(self, door: TlsDoor) -> None:
        self._door = door
        self._files = (door.certificate_file, door.key_file, door.client_ca_file)
        self._context, self._made_of = context(door), self._state()

    def current(self) -> ssl.SSLContext:
        """While the files are missing or do not fit together, the one before."""
        state = self._state()
        if state != self._made_of:
            self._made_of = state
            try:
                self._context = context(self._door)
            except OSError as error:  # which ssl's errors are, too
                _log.warning("the changed certificate files cannot be used, the former ones still are: %s", error)
        return self._context

    def _state(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(_state(file) for file in self._files)


def _state(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def context(door: TlsDoor) -> ssl.SSLContext:
    """Only clients of `client_ca_file` get through the handshake; the system's authorities count for nothing."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(door.client_ca_file)
    made.load_cert_chain(door.certificate_file, door.key_file)
    return made


def _check(door: TlsDoor) -> None:
    try:
        context(door)
    except OSError as error:  # which ssl's errors are, too
        files = f"{door.certificate_file}, {door.key_file}, {door.client_ca_file}"
        raise SettingsError(
            f"certificate_file, key_file or client_ca_file cannot be used ({files}): {error}"
        ) from error
