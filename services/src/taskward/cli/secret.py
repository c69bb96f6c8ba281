"""The files with the worker's own credentials, as the operator keeps them."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskward.cli.accounts import user_of
from taskward.core.errors import ConfigurationError
from taskward.core.settings import Settings
from taskward.core.settings.content import content

_LARGEST_BYTES: Final = 1 << 16
_BY_GROUP: Final = stat.S_IRGRP | stat.S_IWGRP
_BY_OTHERS: Final = stat.S_IROTH | stat.S_IWOTH


@dataclass(frozen=True)
class Secret:
    """One file; `key` is its setting in ``[taskcluster]``, `copy` where the claimer finds the same."""

    key: str
    path: Path
    copy: Path

    def read(self) -> str:
        """What it holds.

        Raises:
            ConfigurationError: it cannot be read, or is empty; the text names the setting.
        """
        try:
            text = content(self.path, _LARGEST_BYTES).strip()
        except ConfigurationError as error:
            raise ConfigurationError(f"[taskcluster] {self.key}: {error}") from error
        if not text:
            raise ConfigurationError(f"[taskcluster] {self.key}: {self.path} is empty")
        return text

    def is_hidden(self) -> bool:
        """Whether it is kept from whoever asks, so that nothing can be said about it."""
        try:
            self.path.stat()
        except OSError as error:
            return isinstance(error, PermissionError)
        return not os.access(self.path, os.R_OK)

    def exposure(self) -> str:
        """Who else can read or change it, and the remedy; empty when nobody can, or nobody knows."""
        try:
            found = self.path.stat()
        except OSError:
            return ""
        remedy = f"chmod 600 {self.path}"
        if self.path != self.copy and found.st_uid not in (0, os.geteuid()):
            who, remedy = f"uid {found.st_uid} owns it, and can read it", f"chown {user_of('supervisor')} {self.path}"
        elif found.st_mode & _BY_OTHERS:
            who = "every user of this machine can read it"
        elif found.st_mode & _BY_GROUP and found.st_gid not in (0, os.getegid()):
            who = f"group {found.st_gid} can read it"
        else:
            return ""
        mode = f"mode {stat.S_IMODE(found.st_mode):04o}"
        return f"[taskcluster] {self.key}: {self.path}: {who} ({mode}); {remedy}"


def secrets(settings: Settings) -> Iterator[Secret]:
    """All that there are."""
    given, copy = settings.taskcluster, settings.layout.access_token
    yield Secret("access_token_file", given.access_token_file, copy)
    if given.certificate_file:
        yield Secret("certificate_file", given.certificate_file, copy.with_name("certificate"))


def exposures(settings: Settings) -> Iterator[str]:
    """See `Secret.exposure`."""
    return filter(None, (each.exposure() for each in secrets(settings)))
