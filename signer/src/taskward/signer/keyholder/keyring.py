"""The three keys and what each may sign."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from taskward.signer.dsse import pre_authentication_encoding
from taskward.signer.errors import UnusableKeyError
from taskward.signer.keyholder import keyfiles
from taskward.signer.keyholder.ed25519 import Ed25519Key
from taskward.signer.keyholder.errors import RefusedBodyError
from taskward.signer.keyholder.lifetime import Clock, utc_now
from taskward.signer.keyholder.openpgp import OpenPgpKey
from taskward.signer.keyholder.settings import KeyholderSettings


class Keyring:
    """Every private key, loaded and proven at construction; a context manager that ends gpg's agent.

    Raises `UnusableKeyError`. One process at a time holds a keys directory.
    """

    def __init__(self, settings: KeyholderSettings, clock: Clock = utc_now) -> None:
        directory = settings.keys.private_dir
        self._lock = keyfiles.hold(directory)
        try:
            self._load(directory, settings, clock)
        except OSError as error:
            raise UnusableKeyError(
                f"cannot use keys_dir {directory}: {error.filename or 'writing there'}: {error.strerror}; mend that "
                "and start again"
            ) from error

    def _load(self, directory: Path, settings: KeyholderSettings, clock: Clock) -> None:
        self._ed25519 = Ed25519Key.load_or_make(directory / "ed25519.key")
        self._dsse = Ed25519Key.load_or_make(directory / "dsse.key")
        if self._dsse.public_base64 == self._ed25519.public_base64:
            raise UnusableKeyError(f"dsse.key and ed25519.key in {directory} are the same key; move dsse.key away")
        self._openpgp = OpenPgpKey.load_or_make(
            directory / "openpgp",
            settings.keys.openpgp_algorithm,
            settings.keys.openpgp_expires_days,
            settings.user_name,
            settings.user_email,
            clock,
        )

    def sign(self, form: str, body: bytes) -> bytes:
        """The clear-signed text (``openpgp``) or 64 bytes (``ed25519``, ``dsse``).

        ``ed25519`` signs the body itself; ``dsse`` the DSSE pre-authentication encoding of the body as an
        in-toto statement, with another key.

        Raises `RefusedBodyError` (do not repeat), `SigningError`, or `UnusableKeyError` as `check` does.
        """
        self.check()
        match form:
            case "openpgp":
                return self._openpgp.clear_sign(body)
            case "ed25519":
                return self._ed25519.sign(body)
            case "dsse":
                return self._dsse.sign(pre_authentication_encoding(body))
            case _:
                raise RefusedBodyError(f"there is no form {form!r}")

    def check(self) -> None:
        """Look at the clock: raises `UnusableKeyError` once a key has expired, and logs when one soon will."""
        self._openpgp.check()

    def prove(self) -> None:
        """After a `SigningError`: raises `UnusableKeyError` when the keys are at fault, and not one body."""
        self._openpgp.prove()

    def public(self) -> dict[str, Any]:
        """``{"openpgp": {armored, fingerprint, keyId, algorithm, created, expires},
        "ed25519": {publicKey, keyId, created, expires}, "dsse": {like ed25519}}``; times ISO 8601 or null.
        """
        return {
            "openpgp": self._openpgp.public(),
            "ed25519": self._ed25519.public(),
            "dsse": self._dsse.public(),
        }

    def publish(self, directory: Path) -> None:
        """Write the public halves, readable by everybody; the names are in the package's docstring.

        Raises `UnusableKeyError` when they cannot be written there.
        """
        keyfiles.make_directory(directory, 0o755)
        files = {
            "openpgp.asc": self._openpgp.armored,
            "ed25519.pub": self._ed25519.public_base64,
            "dsse.pub": self._dsse.public_base64,
            "keys.json": json.dumps(self.public(), indent=2) + "\n",
        }
        try:
            for name, text in files.items():
                keyfiles.write_new(directory / name, text.encode(), 0o644)
        except OSError as error:
            raise UnusableKeyError(f"cannot write to public_keys_dir {directory}: {error.strerror}") from error

    def __enter__(self) -> "Keyring":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._openpgp.close()
