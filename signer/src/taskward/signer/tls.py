"""The signer's door for other hosts: TLS 1.3, and nobody without a certificate of our own authority."""

import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskward.signer.sections import Section, SettingsError

_BACKLOG = 64
_PATIENCE_S = 10
_KEYS = ("certificate_file", "key_file", "client_ca_file")


@dataclass(frozen=True)
class TlsDoor:
    """``listen = "ADDRESS:PORT"``, the signer's certificate and key, and the authority of its clients."""

    host: str
    port: int
    certificate_file: Path
    key_file: Path
    client_ca_file: Path

    @classmethod
    def read(cls, section: Section) -> "TlsDoor | None":
        """None when the section has no `listen`; raises `SettingsError`."""
        if not section.has("listen"):
            return None
        host, _, port = section.text("listen").rpartition(":")
        if not host or not port.isdigit() or not 0 <= int(port) <= 65535:
            raise SettingsError(f"listen in {section.where} has to be ADDRESS:PORT, not {section.text('listen')!r}")
        return cls(host.strip("[]"), int(port), *(section.path(key) for key in _KEYS))

    def open(self) -> socket.socket:
        """Listens; who does not send or receive anything for ten seconds, be it a handshake, is cut off.

        Raises `SettingsError` for an address that is not ours or in use.
        """
        listener = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            patience = struct.pack("@ll", _PATIENCE_S, 0)  # accepted connections inherit it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
            listener.bind((self.host, self.port))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            raise SettingsError(f"cannot listen on {self.host} port {self.port}: {error.strerror}") from error
        return listener

    def check(self) -> None:
        """Raises `SettingsError` when a file cannot be used."""
        try:
            self.context()
        except (OSError, ssl.SSLError) as error:
            files = f"{self.certificate_file}, {self.key_file}, {self.client_ca_file}"
            raise SettingsError(
                f"certificate_file, key_file or client_ca_file cannot be used ({files}): {error}"
            ) from error

    def context(self) -> ssl.SSLContext:
        """Only clients of `client_ca_file` get through the handshake; the system's authorities count for nothing."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.client_ca_file)
        context.load_cert_chain(self.certificate_file, self.key_file)
        return context

    def options(self) -> dict[str, Any]:
        """gunicorn's settings."""
        make: Callable[..., ssl.SSLContext] = lambda _config, _default: self.context()  # noqa: E731 - gunicorn counts arguments
        return {"certfile": str(self.certificate_file), "keyfile": str(self.key_file), "ssl_context": make}
