"""What the keyholder is told at its start."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskward.signer.door import SocketDoor
from taskward.signer.errors import SettingsError
from taskward.signer.keyholder.place import KeyPlace
from taskward.signer.sections import Section

_KEYS: Final = (*SocketDoor.KEYS, *KeyPlace.KEYS, "user_id")
_ALGORITHMS: Final = ("ed25519", "rsa2048", "rsa4096")
_USER_ID: Final = re.compile(r"(?P<name>[^\W\d_][^<>\r\n\0]{3,}[^<>\s\0])(?: <(?P<email>[^<>@\s\0]+@[^<>@\s\0]+)>)?")


@dataclass(frozen=True)
class KeyholderSettings:
    """The ``[keyholder]`` section; its keys are explained in the package's docstring."""

    door: SocketDoor
    keys: KeyPlace
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
        return cls(SocketDoor.read(section), KeyPlace.read(section, _ALGORITHMS), match["name"], match["email"])
