"""The OpenPGP key: one secret key in a GnuPG home of its own, used through python-gnupg.

gpg's habits that shape this module: it silently cuts lines of 20 000 bytes when clear-signing and still
reports success; asked for a key id it does not know it may sign with another key; its agent
outlives the process.
"""

import os
import re
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import gnupg

from taskward.signer.cleartext import UnclearTextError, check_clear
from taskward.signer.keyholder import keyfiles
from taskward.signer.keyholder.errors import RefusedBodyError, SigningError, UnusableKeyError

_FINGERPRINT = re.compile(r"[0-9A-F]{40}")
_AGENT_SOCKET_BYTES = len("/S.gpg-agent.browser")
_MAX_SOCKET_BYTES = 107
_GPG_OPTIONS = [
    "--digest-algo",
    "SHA512",
    "--no-auto-check-trustdb",
    "--disable-dirmngr",
    "--no-emit-version",
]
_GPGCONF_TIMEOUT_S = 5
_KEY_TYPES = {
    "ed25519": ("Key-Type: EDDSA", "Key-Curve: ed25519"),
    "rsa2048": ("Key-Type: RSA", "Key-Length: 2048"),
    "rsa4096": ("Key-Type: RSA", "Key-Length: 4096"),
}


class OpenPgpKey:
    """The one secret key of the GnuPG home `home`, loaded and proven; its agent runs until `close`.

    Raises `UnusableKeyError` when there is not exactly one secret key, or it cannot sign (when expired, say).
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._alias = _short_alias(home)
        self._gpg = _gpg(self._alias or home)
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def _load(self) -> None:
        end_agent(self._alias or self._home)  # one of a killed keyholder may still run
        keys = self._gpg.list_keys(secret=True)
        if len(keys) != 1 or not _FINGERPRINT.fullmatch(keys[0]["fingerprint"]):
            raise UnusableKeyError(f"{self._home} holds {len(keys)} secret keys, it has to be exactly one")
        self.fingerprint: str = keys[0]["fingerprint"]
        self._created = _time(keys[0]["date"])
        self._expires = _time(keys[0]["expires"])
        self._algorithm: str = keys[0]["algo"]
        self.armored: str = self._gpg.export_keys(self.fingerprint)
        try:
            self.clear_sign(b"proof of key: " + os.urandom(32).hex().encode() + b"\n")
        except SigningError as error:
            raise UnusableKeyError(
                f"the OpenPGP key {self.fingerprint} in {self._home} cannot sign ({error}); it expires "
                f"{self._expires or 'never'}. To get a new key, move {self._home} away and start again"
            ) from error

    @classmethod
    def load_or_make(cls, home: Path, algorithm: str, expires_days: int, name: str, email: str | None) -> "OpenPgpKey":
        """The key in `home`, made now when there is no such directory."""
        if not os.path.lexists(home):
            _make(home, algorithm, expires_days, name, email)
        return cls(home)

    def clear_sign(self, body: bytes) -> bytes:
        """The clear-signed message around `body`, which is parsed back and compared before it is returned.

        Raises `RefusedBodyError` for a body that clear-signing would change, `SigningError` for anything that
        gpg did not do as asked.
        """
        try:
            check_clear(body)
        except UnclearTextError as error:
            raise RefusedBodyError(str(error)) from error
        signed = self._gpg.sign(body, keyid=self.fingerprint, clearsign=True)
        if signed.returncode != 0 or signed.fingerprint != self.fingerprint:
            raise SigningError(f"gpg ended with {signed.returncode} and status {signed.status!r}")
        parsed = self._gpg.decrypt(signed.data)
        if not parsed.valid or parsed.pubkey_fingerprint != self.fingerprint:
            raise SigningError(f"gpg does not verify what it signed: {parsed.status!r}")
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
            "expires": self._expires,
        }

    def close(self) -> None:
        """End the agent; the key is of no use afterwards."""
        end_agent(self._alias or self._home)
        if self._alias is not None:
            shutil.rmtree(self._alias.parent)


def end_agent(home: Path) -> None:
    """End the gpg-agent of `home`, if one runs; one that hangs is cut off, so that gpg starts another."""
    try:
        subprocess.run(
            ["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"],
            check=False,
            capture_output=True,
            timeout=_GPGCONF_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        (home / "S.gpg-agent").unlink(missing_ok=True)  # the old one ends when it notices


def _make(home: Path, algorithm: str, expires_days: int, name: str, email: str | None) -> None:
    draft = home.with_name(home.name + ".new")
    if draft.exists():
        shutil.rmtree(draft)  # a keyholder was killed while making its key
    draft.mkdir(mode=0o700)
    (draft / "gpg-agent.conf").write_text("disable-scdaemon\n")
    alias = _short_alias(draft)
    lines = ["%no-protection", *_KEY_TYPES[algorithm], "Key-Usage: sign", f"Name-Real: {name}"]
    lines += [f"Name-Email: {email}"] if email else []
    lines += [f"Expire-Date: {expires_days}d", "%commit", ""]
    try:
        made = _gpg(alias or draft).gen_key("\n".join(lines))
    finally:
        end_agent(alias or draft)
        if alias is not None:
            shutil.rmtree(alias.parent)
    if not _FINGERPRINT.fullmatch(made.fingerprint or ""):
        raise UnusableKeyError(f"gpg made no key in {draft}: {made.stderr}")
    draft.rename(home)
    keyfiles.sync_directory(home.parent)


def _gpg(home: Path) -> gnupg.GPG:
    try:
        gpg = gnupg.GPG(gnupghome=str(home), options=_GPG_OPTIONS)
    except OSError as error:
        raise UnusableKeyError(f"gpg cannot be run ({error}); remedy: install gnupg") from error
    gpg.encoding = "utf-8"
    return gpg


def _short_alias(home: Path) -> Path | None:
    """A short second name for a home whose agent's socket would not fit into a socket address."""
    if len(os.fsencode(home)) + _AGENT_SOCKET_BYTES <= _MAX_SOCKET_BYTES:
        return None
    alias = Path(tempfile.mkdtemp(prefix="twk")) / "g"
    alias.symlink_to(home)
    return alias


def _time(epoch_s: str) -> str | None:
    return datetime.fromtimestamp(int(epoch_s), UTC).isoformat() if epoch_s else None
