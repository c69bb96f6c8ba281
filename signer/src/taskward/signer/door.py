"""Where callers are listened for: those of this host and those of others. What opens a door is `sockets` or `tls`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from taskward.signer.errors import SettingsError
from taskward.signer.sections import Section


@dataclass(frozen=True)
class SocketDoor:
    """``socket`` with ``socket_mode`` and the gid of ``socket_group``, and whom it is open for: ``allowed_users``."""

    KEYS: ClassVar = ("socket", "socket_mode", "socket_group", "allowed_users")

    path: Path
    mode: int
    gid: int | None
    allowed_uids: frozenset[int]

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    def read(cls, section: Section) -> "SocketDoor":
        """Raises `SettingsError`."""
        return cls(
            path=section.path("socket"),
            mode=section.mode("socket_mode", "0660"),
            gid=section.gid("socket_group"),
            allowed_uids=section.users("allowed_users"),
        )


@dataclass(frozen=True)
class TlsDoor:
    """``listen = "ADDRESS:PORT"``, our certificate and key, the authority of the callers' certificates, and the DNS
    names that those may have: ``allowed_clients``.
    """

    KEYS: ClassVar = ("listen", "certificate_file", "key_file", "client_ca_file", "allowed_clients")

    host: str
    port: int
    certificate_file: Path
    key_file: Path
    client_ca_file: Path
    allowed_clients: frozenset[str]

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}, for clients with a certificate"

    @classmethod
    def read(cls, section: Section) -> "TlsDoor":
        """Raises `SettingsError`."""
        host, _, port = section.text("listen").rpartition(":")
        if not host or not port.isdigit() or not 0 <= int(port) <= 65535:
            raise SettingsError(f"listen in {section.where} has to be ADDRESS:PORT, not {section.text('listen')!r}")
        return cls(
            host=host.strip("[]"),
            port=int(port),
            certificate_file=section.path("certificate_file"),
            key_file=section.path("key_file"),
            client_ca_file=section.path("client_ca_file"),
            allowed_clients=frozenset(section.texts("allowed_clients")),
        )
