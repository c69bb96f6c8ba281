"""How two roles that meet on a network get to know each other: mutual TLS under an authority of their own."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from taskward.cli.accounts import user_of
from taskward.cli.authority import Authority
from taskward.cli.provision import replace

_VALID: Final = timedelta(days=3650)


@dataclass(frozen=True)
class Party:
    """A role, the DNS name by which it is called or calls, and the directory with its files, which only it may read."""

    role: str
    name: str
    home: Path

    @property
    def authority(self) -> Path:
        """Whose certificates it believes."""
        return self.home / "authority.crt"

    @property
    def certificate(self) -> Path:
        """Its own."""
        return self.home / "own.crt"

    @property
    def key(self) -> Path:
        """Of its certificate; written last."""
        return self.home / "own.key"


def introduce(parties: Sequence[Party]) -> None:
    """Gives them what they lack, once; nobody can ever join them, as the authority's key is not kept."""
    if all(party.key.exists() for party in parties):
        return
    authority = Authority(datetime.now(UTC), _VALID)
    for party in parties:
        issued, user = authority.issue(party.name), user_of(party.role)
        party.home.mkdir(mode=0o700, exist_ok=True)
        shutil.chown(party.home, user)
        replace(party.authority, authority.certificate, user, 0o400)
        replace(party.certificate, issued.certificate, user, 0o400)
        replace(party.key, issued.key, user, 0o400)
