"""Where keys lie, and of which kind an OpenPGP key is made."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from taskward.signer.sections import Section


@dataclass(frozen=True)
class KeyPlace:
    """``keys_dir``, ``public_keys_dir``, ``openpgp_algorithm`` and ``openpgp_expires_days`` of a section."""

    KEYS: ClassVar = ("keys_dir", "public_keys_dir", "openpgp_algorithm", "openpgp_expires_days")

    private_dir: Path
    public_dir: Path
    openpgp_algorithm: str
    openpgp_expires_days: int

    @classmethod
    def read(cls, section: Section, algorithms: Collection[str]) -> "KeyPlace":
        """The first of `algorithms` is the default; raises `SettingsError`."""
        return cls(
            private_dir=section.path("keys_dir"),
            public_dir=section.path("public_keys_dir"),
            openpgp_algorithm=section.choice("openpgp_algorithm", algorithms, default=next(iter(algorithms))),
            openpgp_expires_days=section.integer("openpgp_expires_days", 730),
        )
