"""The signer's door for other hosts: TLS 1.3, and nobody without a certificate of our own authority."""

import logging
import socket
import ssl
import struct
from typing import Any, Final

from taskward.signer.door import TlsDoor
from taskward.signer.errors import SettingsError

_log = logging.getLogger(__name__)
_BACKLOG: Final = 64
_PATIENCE_S: Final = 10


def listening(door: TlsDoor) -> socket.socket:
    """A listener; who neither sends nor receives anything for ten seconds, be it a handshake, is cut off.

    Raises `SettingsError` for an address that is not ours or in use, and for files that cannot be used.
    """
    if not door.allowed_clients:
        _log.warning("allowed_clients is empty: everybody is refused")
    _check(door)
    listener = socket.socket(socket.AF_INET6 if ":" in door.host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        patience = struct.pack("@ll", _PATIENCE_S, 0)  # accepted connections inherit it
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        listener.bind((door.host, door.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(f"cannot listen on {door.host} port {door.port}: {error.strerror}") from error
    return listener


def options(door: TlsDoor) -> dict[str, Any]:
    """gunicorn's settings."""

    def make_context(_config: Any, _default: Any) -> ssl.SSLContext:
        return context(door)

    return {"certfile": str(door.certificate_file), "keyfile": str(door.key_file), "ssl_context": make_context}


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
