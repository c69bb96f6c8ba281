"""Logins of registries: whose they are, which tasks may use them, and the files that hold them."""

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from taskward.core.settings import ImageSettings
from taskward.executor.docker.images.errors import ImageFailed
from taskward.executor.docker.images.reference import Reference
from taskward.executor.docker.request import Image
from taskward.executor.docker.scopes import not_authorized
from taskward.executor.errors import EngineFailed
from taskward.executor.features.feature import satisfies

_LARGEST_FILE: Final = 1 << 16
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class Login:
    """One user of one registry."""

    registry: str
    username: str
    password: str = field(repr=False)

    @property
    def account(self) -> str:
        """Whose it is, without the secret."""
        return f"{self.username}@{self.registry}"


def login_for(reference: Reference, settings: ImageSettings, scopes: Sequence[str], wanted: Image) -> Login | None:
    """The login that an image is pulled with; None for what everybody may have.

    `wanted` is what the payload says, for the text of the error.

    Raises:
        ImageFailed: there is one, and `scopes` do not allow to use it.
        EngineFailed: its file cannot be used.
    """
    name = _entry(reference, settings)
    if name is None:
        return None
    if not satisfies(scopes, f"docker-worker:image:{reference.written}"):
        raise ImageFailed(not_authorized(wanted))
    return _read(name, settings.registries[name])


def _entry(reference: Reference, settings: ImageSettings) -> str | None:
    """``host/user`` before ``host``; official images (one word, no host) never have one."""
    user, _, rest = reference.path.partition("/")
    if not reference.host and not rest:
        return None
    host = reference.host or settings.default_registry
    names = (f"{host}/{user}", host, f"{host}/")
    return next((name for name in names[0 if rest else 1 :] if name in settings.registries), None)


def _read(name: str, path: Any) -> Login:
    try:
        data = json.loads(_secret(str(path)))
        if not isinstance(data, Mapping) or not all(isinstance(data.get(key), str) for key in ("username", "password")):
            raise ValueError("it must be an object with username and password")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else _without_content(error)
        raise EngineFailed(f"[images] registries: the login for {name} cannot be used: {path}: {reason}") from None
    return Login(name.partition("/")[0], data["username"], data["password"])


def _secret(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, encoding="utf-8") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no file")
        if found.st_mode & _OTHERS or found.st_uid not in (0, os.geteuid()):
            raise ValueError("others may read it: it must belong to the worker's user, with mode 0600")
        return file.read(_LARGEST_FILE)


def _without_content(error: ValueError) -> str:
    return "it is no JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else str(error)
