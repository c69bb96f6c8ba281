"""An ed25519 key in a file: base64 of its 32-byte seed."""

import base64
import binascii
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from taskward.signer.errors import UnusableKeyError
from taskward.signer.keyholder import keyfiles

_SEED_BYTES = 32


class Ed25519Key:
    """A loaded and proven key.

    Raises `UnusableKeyError` when the file is missing, not ours alone, or holds no seed.
    """

    def __init__(self, file: Path) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(_seed(file))
        self._created = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        challenge = os.urandom(64)
        try:
            self._private.public_key().verify(self.sign(challenge), challenge)
        except InvalidSignature as error:
            raise UnusableKeyError(f"{file}: the key does not verify its own signature") from error

    @classmethod
    def load_or_make(cls, file: Path) -> "Ed25519Key":
        """The key in `file`, made now when there is none."""
        if not os.path.lexists(file):
            keyfiles.write_new(file, base64.b64encode(os.urandom(_SEED_BYTES)), 0o600)
        return cls(file)

    def sign(self, body: bytes) -> bytes:
        """The raw 64-byte signature of exactly these bytes."""
        return self._private.sign(body)

    @property
    def public_base64(self) -> str:
        """Base64 of the 32-byte public key."""
        return base64.b64encode(self._private.public_key().public_bytes_raw()).decode()

    def public(self) -> dict[str, str | None]:
        """The public half as `keys.json` tells it; `keyId` is the hex SHA-256 of the raw public key."""
        raw = self._private.public_key().public_bytes_raw()
        return {
            "publicKey": self.public_base64,
            "keyId": hashlib.sha256(raw).hexdigest(),
            "created": self._created.isoformat(timespec="seconds"),
            "expires": None,
        }


def _seed(file: Path) -> bytes:
    text = keyfiles.read_key(file).strip()
    try:
        seed = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise UnusableKeyError(f"{file} is not base64; it has to hold the base64 of a 32-byte ed25519 seed") from error
    if len(seed) != _SEED_BYTES:
        raise UnusableKeyError(f"{file} holds {len(seed)} bytes, an ed25519 seed has {_SEED_BYTES}")
    return seed
