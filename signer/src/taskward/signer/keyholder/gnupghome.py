"""A GnuPG home with one secret key in it, used through python-gnupg.

gpg's habits that shape this module: its agent outlives the process that needed it, and listens at a socket below the
home, whose path may be too long for one.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import gnupg

from taskward.signer.errors import UnusableKeyError
from taskward.signer.keyholder import keyfiles

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
_MAX_WORDS = 1000


class GnuPgHome:
    """The home at `path`, opened; agent and locks of a killed process are removed, a new agent runs until `close`.

    `gpg` works in it. Raises `UnusableKeyError` when it is none, or gpg cannot be run.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise UnusableKeyError(f"{path} is not a directory; remedy: move it away, and put gpg's home there")
        self.path = path
        self._alias = _short_alias(path)
        try:
            self.gpg = _gpg(self._alias or path)
            _end_agent(self._alias or path)
            for lock in filter(keyfiles.is_lock, path.iterdir()):
                lock.unlink(missing_ok=True)
        except BaseException:
            self._forget_alias()
            raise

    @classmethod
    def open_or_make(cls, path: Path, parameters: Sequence[str]) -> "GnuPgHome":
        """The home at `path`; when there is none, it is made with a new unprotected key.

        `parameters` are lines of gpg's unattended key generation. A home is either complete or not there.
        """
        if not os.path.lexists(path):
            _make(path, parameters)
        return cls(path)

    def secret_key(self) -> dict[str, str]:
        """The only secret key, as python-gnupg lists it; raises `UnusableKeyError` unless there is exactly one."""
        keys = self.gpg.list_keys(secret=True)
        if keys.returncode != 0:
            raise UnusableKeyError(
                f"gpg cannot list the keys in {self.path}, it says: {words(keys.stderr)}. Remedy: make room where the "
                f"disk is full, else move {self.path} away (or put its backup there) and start again"
            )
        if len(keys) != 1 or not _FINGERPRINT.fullmatch(keys[0]["fingerprint"]):
            raise UnusableKeyError(
                f"{self.path} holds {len(keys)} secret keys, it has to be exactly one; remedy: put one key there, or "
                f"move {self.path} away and start again for a new one"
            )
        key: dict[str, str] = keys[0]
        return key

    def close(self) -> None:
        """End the agent; the home is of no use afterwards."""
        _end_agent(self._alias or self.path)
        self._forget_alias()

    def _forget_alias(self) -> None:
        if self._alias is not None:
            shutil.rmtree(self._alias.parent)


def words(stderr: str) -> str:
    """What gpg says to people, on one line."""
    told = [line.removeprefix("gpg: ") for line in stderr.splitlines() if line.startswith("gpg: ")]
    return "; ".join(dict.fromkeys(told))[:_MAX_WORDS] or "nothing"


def _make(home: Path, parameters: Sequence[str]) -> None:
    draft = home.with_name(home.name + ".new")
    if draft.exists():
        shutil.rmtree(draft)  # a process was killed while making its key
    draft.mkdir(mode=0o700)
    (draft / "gpg-agent.conf").write_text("disable-scdaemon\n")
    alias = _short_alias(draft)
    try:
        made = _gpg(alias or draft).gen_key("\n".join(["%no-protection", *parameters, "%commit", ""]))
    finally:
        _end_agent(alias or draft)
        if alias is not None:
            shutil.rmtree(alias.parent)
    if not _FINGERPRINT.fullmatch(made.fingerprint or ""):
        raise UnusableKeyError(f"gpg made no key in {draft}, it says: {words(made.stderr)}")
    draft.rename(home)
    keyfiles.sync_directory(home.parent)


def _gpg(home: Path) -> gnupg.GPG:
    try:
        gpg = gnupg.GPG(gnupghome=str(home), options=_GPG_OPTIONS)
    except OSError as error:
        raise UnusableKeyError(f"gpg cannot be run ({error}); remedy: install gnupg") from error
    gpg.encoding = "utf-8"
    return gpg


def _end_agent(home: Path) -> None:
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


def _short_alias(home: Path) -> Path | None:
    """A short second name for a home whose agent's socket would not fit into a socket address."""
    if len(os.fsencode(home)) + _AGENT_SOCKET_BYTES <= _MAX_SOCKET_BYTES:
        return None
    alias = Path(tempfile.mkdtemp(prefix="twk")) / "g"
    alias.symlink_to(home)
    return alias
