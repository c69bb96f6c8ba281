"""The ``[gateway]`` section of the worker's configuration file."""

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from taskward.gateway.errors import SettingsError
from taskward.gateway.follower import Limits

DEFAULT_PORT: Final = 60023
"""The port on which the originals serve live logs."""

_SOCKET_PATH_LIMIT: Final = 107  # sun_path of unix(7) without its final NUL


@dataclass(frozen=True)
class Settings:
    """What the gateway is told, read once.

    Required: `logs_dir` and `redis_socket`. Paths are absolute. `port` 0 lets the kernel choose. `public_url` is what
    readers outside reach, a reverse proxy perhaps; by default ``http://<host>:<port>``. On `status_socket` alone
    ``/metrics`` is served (``/healthz`` on both). The `Limits` stand in the same section under their own names.
    """

    logs_dir: Path
    redis_socket: Path
    redis_user: str = "gateway"
    redis_password_file: Path | None = None
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    public_url: str | None = None
    status_socket: Path | None = None
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read `file`.

        Raises:
            SettingsError: it cannot be read, has no section ``[gateway]``, or a key of the section is wrong.
        """
        try:
            content = tomllib.loads(file.read_text())
        except OSError as error:
            raise SettingsError(f"{file}: {error.strerror}") from error
        except ValueError as error:
            raise SettingsError(f"{file} is not valid TOML: {error}") from error
        section = content.get("gateway")
        if not isinstance(section, dict):
            raise SettingsError(f"{file} has no section [gateway]; it needs at least logs_dir and redis_socket")
        return cls.parse(section)

    @classmethod
    def parse(cls, section: Mapping[str, Any]) -> Self:
        """Check the section.

        Raises:
            SettingsError: a key is unknown, missing or has a wrong value.
        """
        for name in section:
            _check_known(name)
        missing = [name for name in ("logs_dir", "redis_socket") if name not in section]
        if missing:
            raise SettingsError(f"gateway.{missing[0]} is missing; give it an absolute path")
        values = {name: _READERS[name](name, value) for name, value in section.items()}
        limits = Limits(**{name: values.pop(name) for name in list(values) if name in _LIMITS})
        return cls(**values, limits=limits)

    @property
    def base_url(self) -> str:
        """What the addresses of logs begin with."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"


def _check_known(name: str) -> None:
    if name not in _READERS:
        near = difflib.get_close_matches(name, _READERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(_READERS))}"
        raise SettingsError(f"gateway.{name} is not a known key; {hint}")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise SettingsError(f"gateway.{name} has to be a text that is not empty, not {value!r}")
    return value


def _path(name: str, value: object) -> Path:
    path = Path(_text(name, value))
    if not path.is_absolute() or ".." in path.parts:
        raise SettingsError(f"gateway.{name} has to be an absolute path without '..', not {str(path)!r}")
    return path


def _socket_path(name: str, value: object) -> Path:
    path = _path(name, value)
    if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT:
        raise SettingsError(f"gateway.{name} is longer than the {_SOCKET_PATH_LIMIT} bytes a unix socket may have")
    return path


def _url(name: str, value: object) -> str:
    url = _text(name, value).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise SettingsError(f"gateway.{name} has to be an http or https address without a query, not {url!r}")
    return url


def _port(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 65535:
        raise SettingsError(f"gateway.{name} has to be a port number from 0 to 65535, not {value!r}")
    return value


def _count(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000_000:
        raise SettingsError(f"gateway.{name} has to be a whole number from 1 to 1000000, not {value!r}")
    return value


def _seconds(name: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 10**8:
        raise SettingsError(f"gateway.{name} has to be a number of seconds above 0, not {value!r}")
    return float(value)


_READERS: Final[dict[str, Callable[[str, object], Any]]] = {
    "logs_dir": _path,
    "redis_socket": _socket_path,
    "redis_user": _text,
    "redis_password_file": _path,
    "host": _text,
    "port": _port,
    "public_url": _url,
    "status_socket": _socket_path,
    "max_readers": _count,
    "idle_timeout_s": _seconds,
    "stall_timeout_s": _seconds,
    "prepare_timeout_s": _seconds,
}
_LIMITS: Final = {limit.name for limit in fields(Limits)}
