"""What the decrypter is told at its start."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskward.signer.deployment import Deployment
from taskward.signer.door import SocketDoor
from taskward.signer.keyholder.place import KeyPlace
from taskward.signer.sections import Section

_KEYS: Final = (*SocketDoor.KEYS, *KeyPlace.KEYS, *Deployment.KEYS)
_ALGORITHMS: Final = ("cv25519", "rsa2048", "rsa4096")


@dataclass(frozen=True)
class DecrypterSettings:
    """The ``[decrypter]`` section, explained in the package's docstring, and whose runs this worker's are."""

    door: SocketDoor
    keys: KeyPlace
    deployment: Deployment

    @classmethod
    def read(cls, file: Path) -> "DecrypterSettings":
        """Raises `SettingsError` with the key at fault."""
        section = Section(file, "decrypter", _KEYS)
        return cls(SocketDoor.read(section), KeyPlace.read(section, _ALGORITHMS), Deployment.read(file, section))
