"""The OpenPGP signing key.

gpg's habits that shape this module: it silently cuts lines of 20 000 bytes when clear-signing and still
reports success; asked for a key id it does not know it may sign with another key; it asks for a passphrase
wherever it finds somebody to ask.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from taskward.signer.cleartext import UnclearTextError, check_clear
from taskward.signer.errors import UnusableKeyError
from taskward.signer.keyholder.errors import RefusedBodyError, SigningError
from taskward.signer.keyholder.gnupghome import GnuPgHome, words
from taskward.signer.keyholder.lifetime import Clock, Lifetime

_KEY_TYPES = {
    "ed25519": ("Key-Type: EDDSA", "Key-Curve: ed25519"),
    "rsa2048": ("Key-Type: RSA", "Key-Length: 2048"),
    "rsa4096": ("Key-Type: RSA", "Key-Length: 4096"),
}
_ASK_NOBODY: Final = ["--pinentry-mode", "error"]
_REVOKED: Final = "r"


class OpenPgpKey:
    """The one secret key of the GnuPG home `home`, loaded and proven; its agent runs until `close`.

    Raises `UnusableKeyError` when there is not exactly one secret key, or it cannot sign (when expired, say).
    """

    def __init__(self, home: GnuPgHome, clock: Clock) -> None:
        self._home = home
        self._gpg = home.gpg
        self._clock = clock
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def _load(self) -> None:
        key = self._home.secret_key()
        self.fingerprint: str = key["fingerprint"]
        self._created = _time(key["date"])
        self._algorithm: str = key["algo"]
        self._name = f"the OpenPGP key {self.fingerprint} in {self._home.path}"
        self._remedy = (
            f"move {self._home.path} away and start again: that makes a new key, whose public half has to be handed out"
        )
        self._lifetime = Lifetime(self._name, _time(key["expires"]), self._remedy, self._clock)
        self.check()
        if key["trust"] == _REVOKED:
            raise UnusableKeyError(f"{self._name} is revoked; remedy: {self._remedy}")
        self.armored: str = self._gpg.export_keys(self.fingerprint)
        self.prove()

    def check(self) -> None:
        """Look at the clock: raises `UnusableKeyError` once the key has expired, and logs when it soon will."""
        self._lifetime.check()

    def prove(self) -> None:
        """Sign a random message; raises `UnusableKeyError` when that fails, too."""
        try:
            self.clear_sign(b"proof of key: " + os.urandom(32).hex().encode() + b"\n")
        except SigningError as error:
            raise UnusableKeyError(
                f"{self._name} cannot sign: {error}. If that cannot be mended, {self._remedy}"
            ) from error

    @classmethod
    def load_or_make(
        cls, home: Path, algorithm: str, expires_days: int, name: str, email: str | None, clock: Clock
    ) -> "OpenPgpKey":
        """The key in `home`, made now when there is no such directory."""
        lines = [*_KEY_TYPES[algorithm], "Key-Usage: sign", f"Name-Real: {name}", f"Expire-Date: {expires_days}d"]
        lines += [f"Name-Email: {email}"] if email else []
        return cls(GnuPgHome.open_or_make(home, lines), clock)

    def clear_sign(self, body: bytes) -> bytes:
        """The clear-signed message around `body`, which is parsed back and compared before it is returned.

        Raises `RefusedBodyError` for a body that clear-signing would change, `SigningError` for anything that
        gpg did not do as asked.
        """
        try:
            check_clear(body)
        except UnclearTextError as error:
            raise RefusedBodyError(str(error)) from error
        signed = self._gpg.sign(body, keyid=self.fingerprint, clearsign=True, extra_args=_ASK_NOBODY)
        if signed.returncode != 0 or signed.fingerprint != self.fingerprint:
            raise SigningError(self._why(signed))
        parsed = self._gpg.decrypt(signed.data)
        if not parsed.valid or parsed.pubkey_fingerprint != self.fingerprint:
            raise SigningError(f"gpg does not verify what it signed ({words(parsed.stderr)})")
        if parsed.data.rstrip(b"\n") != body.rstrip(b"\n"):  # Debian's gpg drops the last line end
            raise SigningError("the signed text is not the text that was to be signed")
        return bytes(signed.data)

    def public(self) -> dict[str, str | None]:
        """The public half as `keys.json` tells it."""
        return {
            "armored": self.armored,
            "fingerprint": self.fingerprint,
            "keyId": self.fingerprint[-16:],
            "algorithm": {"22": "ed25519", "1": "rsa"}.get(self._algorithm, self._algorithm),
            "created": self._created,
            "expires": self._lifetime.expires,
        }

    def close(self) -> None:
        """End the agent; the key is of no use afterwards."""
        self._home.close()

    def _why(self, signed: Any) -> str:
        gpg = f"gpg --homedir {self._home.path}"
        if signed.returncode == 0:
            return (
                f"gpg signs with its subkey {signed.fingerprint} instead. Remedy: take that subkey away "
                f"({gpg} --edit-key {self.fingerprint}, then delkey)"
            )
        if "No pinentry" in signed.stderr:
            return (
                f"it has a passphrase, and nobody to type it. Remedy: {gpg} --passwd {self.fingerprint}, an empty one"
            )
        return f"gpg says: {words(signed.stderr)}"


def _time(epoch_s: str) -> str | None:
    return datetime.fromtimestamp(int(epoch_s), UTC).isoformat() if epoch_s else None
