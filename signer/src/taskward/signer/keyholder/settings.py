"""What the keyholder is told at its start."""

import re
from dataclasses import dataclass
from pathlib import Path

from taskward.signer.sections import Section, SettingsError

_KEYS = (
    "socket",
    "socket_mode",
    "socket_group",
    "keys_dir",
    "public_keys_dir",
    "allowed_users",
    "openpgp_algorithm",
    "openpgp_expires_days",
    "user_id",
)
_USER_ID = re.compile(r"(?P<name>[^\W\d_][^<>\r\n\0]{3,}[^<>\s\0])(?: <(?P<email>[^<>@\s\0]+@[^<>@\s\0]+)>)?")


@dataclass(frozen=True)
class KeyholderSettings:
    """The ``[keyholder]`` section; its keys are explained in the package's docstring."""

    socket: Path
    socket_mode: int
    socket_gid: int | None
    keys_dir: Path
    public_keys_dir: Path
    allowed_uids: frozenset[int]
    openpgp_algorithm: str
    openpgp_expires_days: int
    user_name: str
    user_email: str | None

    @classmethod
    def read(cls, file: Path) -> "KeyholderSettings":
        """Raises `SettingsError` with the key at fault."""
        section = Section(file, "keyholder", _KEYS)
        user_id = section.text("user_id", "taskward chain of trust")
        match = _USER_ID.fullmatch(user_id)
        if match is None:
            raise SettingsError(
                f'user_id in {section.where} has to be "Name" or "Name <mail@example.com>", the name with at '
                f"least five characters and a letter first; not {user_id!r}"
            )
        return cls(
            socket=section.path("socket"),
            socket_mode=section.mode("socket_mode", "0660"),
            socket_gid=section.gid("socket_group"),
            keys_dir=section.path("keys_dir"),
            public_keys_dir=section.path("public_keys_dir"),
            allowed_uids=section.users("allowed_users"),
            openpgp_algorithm=section.choice("openpgp_algorithm", ("ed25519", "rsa2048", "rsa4096"), default="ed25519"),
            openpgp_expires_days=section.integer("openpgp_expires_days", 730),
            user_name=match["name"],
            user_email=match["email"],
        )
