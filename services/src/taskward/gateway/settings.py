"""The ``[gateway]`` section of the worker's configuration file; every key has a default."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from taskward.core.errors import ConfigurationError
from taskward.core.ids import RunId
from taskward.core.settings import Settings as WorkerFile
from taskward.core.settings.table import section
from taskward.core.shell import LONGEST_RESUME_S
from taskward.gateway.limits import Limits

DEFAULT_PORT: Final = 60023
"""The port on which the originals serve live logs."""

_SOCKET_PATH_LIMIT: Final = 107  # sun_path of unix(7) without its final NUL


@dataclass(frozen=True)
class Settings:
    """What the gateway is told, read once.

    `logs_dir`, `shells_dir`, `redis_socket` and `redis_password_file` follow from ``[worker] state_dir`` unless they
    are given. `port` 0 lets the kernel choose. `public_url` is what readers outside reach, a reverse proxy perhaps; by
    default ``http://<host>:<port>``. ``/metrics`` is served on `status_socket` alone, ``/healthz`` on both.

    `shell_url` is another user interface's page for shells (``https://<root>/shell/``), `display_url` one for displays
    of containers (``https://<root>/display/``); by default the gateway's own.
    A shell whose connection was cut off waits `shell_resume_s` for its user; a peer that is silent for two
    `shell_heartbeat_s` is gone. The other keys are the `Limits`.
    """

    logs_dir: Path
    shells_dir: Path
    redis_socket: Path
    redis_password_file: Path
    redis_user: str = "gateway"
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    public_url: str = ""
    status_socket: Path | None = None
    max_readers: int = 4096
    idle_timeout_s: float = 86_400.0
    stall_timeout_s: float = 3_600.0
    prepare_timeout_s: float = 1_800.0
    shell_url: str = ""
    display_url: str = ""
    shell_resume_s: float = 60.0
    shell_heartbeat_s: float = 15.0

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read the worker's configuration file.

        Raises:
            ConfigurationError: it cannot be read, or a key is unknown or has a wrong value.
        """
        worker = WorkerFile.load(file)
        where = f"{file}: [gateway]"
        given: Any = worker.others.get("gateway", {})
        if not isinstance(given, dict):
            raise ConfigurationError(f"{where}: must be a table")
        redis = worker.redis("gateway")
        derived = {
            "logs_dir": str(worker.layout.logs),
            "shells_dir": str(worker.layout.shells),
            "redis_socket": str(redis.socket),
            "redis_password_file": str(redis.password_file),
        }
        settings: Self = section(cls, derived | given, where)
        settings._check(where)
        return settings

    @property
    def limits(self) -> Limits:
        """What readers may take."""
        return Limits(self.max_readers, self.idle_timeout_s, self.stall_timeout_s, self.prepare_timeout_s)

    def shell_socket(self, run: RunId) -> Path:
        """Where the executor offers the run's shells, see `Layout.shell_socket`."""
        return self.shells_dir / f"{run.directory}.sock"

    @property
    def address(self) -> str:
        """``host:port``, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What the addresses of logs begin with."""
        return self.public_url.rstrip("/") or f"http://{self.address}"

    def _check(self, where: str) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"{where} port: must be 0 to 65535, not {self.port}")
        if not self.host:
            raise ConfigurationError(f"{where} host: must not be empty; '0.0.0.0' serves all addresses")
        if not 1 <= self.max_readers <= 1_000_000:
            raise ConfigurationError(f"{where} max_readers: must be 1 to 1000000, not {self.max_readers}")
        for name in ("idle_timeout_s", "stall_timeout_s", "prepare_timeout_s"):
            if not 0 < getattr(self, name) <= 10**8:
                raise ConfigurationError(f"{where} {name}: must be above 0 and at most 100000000")
        for name, most_s in (("shell_resume_s", LONGEST_RESUME_S), ("shell_heartbeat_s", 3600)):
            if not 0 < getattr(self, name) <= most_s:
                raise ConfigurationError(f"{where} {name}: must be above 0 and at most {most_s:.0f}")
        if ".." in self.logs_dir.parts:
            raise ConfigurationError(f"{where} logs_dir: must not contain '..'")
        if self.status_socket and len(os.fsencode(self.status_socket)) > _SOCKET_PATH_LIMIT:
            raise ConfigurationError(f"{where} status_socket: longer than the {_SOCKET_PATH_LIMIT} bytes of a socket")
        for name in ("public_url", "shell_url", "display_url"):
            url = getattr(self, name)
            if url and not _is_plain_url(url):
                raise ConfigurationError(
                    f"{where} {name}: must be an http or https address without a query, not {url!r}"
                )


def _is_plain_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc) and not parts.query and not parts.fragment
