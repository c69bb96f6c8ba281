"""Where the signer listens for callers on other hosts; what opens it is `tls.py`."""

from dataclasses import dataclass
from pathlib import Path

from taskward.signer.sections import Section, SettingsError

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
