"""The encryption key: what is encrypted to it, and nothing else, it opens."""

import base64
import binascii
from pathlib import Path
from types import TracebackType
from typing import Final

from taskward.signer.decrypter.message import MAX_VARIABLE_BYTES, ViolationError
from taskward.signer.errors import UnusableKeyError
from taskward.signer.keyholder.gnupghome import GnuPgHome

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""Of one message before base64; the queue takes no larger task."""

_MAX_PLAINTEXT_BYTES: Final = 8 * MAX_VARIABLE_BYTES  # JSON may need six bytes for a character
_ONLY_FOR_THE_KEY: Final = ["--no-symkey-cache", "--pinentry-mode", "error", "--max-output", str(_MAX_PLAINTEXT_BYTES)]
_OPENPGP_TAG: Final = 0x80
_SUBKEYS: Final = {
    "cv25519": ("Key-Type: EDDSA", "Key-Curve: ed25519", "Subkey-Type: ECDH", "Subkey-Curve: cv25519"),
    "rsa2048": ("Key-Type: RSA", "Key-Length: 2048", "Subkey-Type: RSA", "Subkey-Length: 2048"),
    "rsa4096": ("Key-Type: RSA", "Key-Length: 4096", "Subkey-Type: RSA", "Subkey-Length: 4096"),
}
_USER_ID: Final = "taskward encrypted environment"


class EncryptionKey:
    """The one secret key in a GnuPG home; a context manager that ends gpg's agent. Raises `UnusableKeyError`."""

    def __init__(self, home: GnuPgHome) -> None:
        self._home = home

    @classmethod
    def load_or_make(cls, home: Path, algorithm: str, expires_days: int) -> "EncryptionKey":
        """The key in `home`, made now when there is no such directory."""
        lines = [*_SUBKEYS[algorithm], "Key-Usage: cert", "Subkey-Usage: encrypt"]
        return cls(GnuPgHome.open_or_make(home, [*lines, f"Name-Real: {_USER_ID}", f"Expire-Date: {expires_days}d"]))

    @classmethod
    def load(cls, home: Path) -> "EncryptionKey":
        """The key in `home`, which is there."""
        return cls(GnuPgHome(home))

    def public(self) -> str:
        """The armored public key, proven: what is encrypted to it can be opened; raises `UnusableKeyError`."""
        fingerprint = self._home.secret_key()["fingerprint"]
        proof = b"proof of key"
        sealed = self._home.gpg.encrypt(proof, fingerprint, always_trust=True, armor=False)
        try:
            if self._decrypted(sealed.data) != proof:
                raise ViolationError("it opens to something else")
        except ViolationError as error:
            raise UnusableKeyError(
                f"what is encrypted to the key {fingerprint} in {self._home.path} cannot be opened ({sealed.status}; "
                f"{error}). It may have expired; to get a new key, move {self._home.path} away and start again"
            ) from error
        armored: str = self._home.gpg.export_keys(fingerprint)
        return armored

    def open(self, encoded: str) -> bytes:
        """What is in the base64 of a binary OpenPGP message; raises `ViolationError`.

        There is one text for everything that gpg does not like: it must tell nobody how far decryption came.
        """
        try:
            message = base64.b64decode("".join(encoded.split()), validate=True)
        except (binascii.Error, ValueError):
            raise ViolationError("the message of the env payload is not base64") from None
        if len(message) > MAX_MESSAGE_BYTES:
            raise ViolationError(f"the message of the env payload is longer than {MAX_MESSAGE_BYTES} bytes")
        if not message or not message[0] & _OPENPGP_TAG:
            raise ViolationError("the message of the env payload is not a binary OpenPGP message (gpg without --armor)")
        return self._decrypted(message)

    def _decrypted(self, message: bytes) -> bytes:
        result = self._home.gpg.decrypt(message, extra_args=_ONLY_FOR_THE_KEY)
        if not result.ok or result.returncode != 0:  # a message that is not encrypted leaves `ok` false
            raise ViolationError(
                "the message of the env payload cannot be decrypted: it is damaged, too large, signed, or not "
                "encrypted for the key of this worker"
            )
        return bytes(result.data)

    def __enter__(self) -> "EncryptionKey":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._home.close()
