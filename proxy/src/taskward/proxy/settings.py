"""The proxy's settings: ``[taskcluster] root_url`` and the section ``[proxy]`` of the worker's TOML file."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskward.proxy import tables
from taskward.proxy.errors import StartError
from taskward.proxy.named import settings as named
from taskward.proxy.named.settings import NamedUpstream
from taskward.proxy.routes import RootUrl


@dataclass(frozen=True)
class Settings:
    """What ``[proxy]`` may hold, by the same names; `root_url` comes from ``[taskcluster]``.

    Relative paths count from the process's working directory. `requests_per_task` are served at a time, more of one
    task wait for their turn. `interface` is the network device that the task port is bound to; the empty
    string binds it to none, which only makes sense behind a firewall. Containers are served at `container_port`, on
    every address of this host (strangers are hung up on), which may be the same port; without it there is nothing for
    them. `upstreams` are servers beside Taskcluster that containers reach by name.
    """

    root_url: RootUrl
    port: int
    redis_socket: Path
    redis_user: str = "proxy"
    redis_password_file: Path | None = None
    status_socket: Path | None = None
    interface: str = "lo"
    container_port: int | None = None
    ca_file: Path | None = None
    threads: int = 64
    requests_per_task: int = 16
    connections_per_user: int = 256
    head_timeout_s: float = 10.0
    client_timeout_s: float = 60.0
    keepalive_s: int = 75
    connect_timeout_s: float = 10.0
    upstream_timeout_s: float = 300.0
    retry_for_s: float = 15.0
    upstreams: Mapping[str, NamedUpstream] = field(default_factory=dict)


def load(path: Path) -> Settings:
    """Read the settings from the worker's TOML file; StartError names what is wrong and where."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StartError(f"{path}: {error}") from error
    try:
        return parse(document)
    except ValueError as error:
        raise StartError(f"{path}: {error}") from error


def parse(document: dict[str, Any]) -> Settings:
    """Settings from the parsed file; ValueError names the key, what is wrong with it, and the remedy."""
    given = dict(_section(document, "proxy"))
    upstreams = named.parse(given.pop("upstreams", {}))
    given.pop("container", None)  # for the executor: which container the proxy is
    settings = tables.read(Settings, given, "[proxy]", root_url=_root_url(document), upstreams=upstreams)
    if settings.requests_per_task > settings.threads:
        raise ValueError("[proxy] requests_per_task must not exceed threads, or one task could take them all")
    return settings


def _section(document: dict[str, Any], name: str) -> dict[str, Any]:
    section = document.get(name, {})
    if not isinstance(section, dict):
        raise ValueError(f"[{name}] must be a table")
    return section


def _root_url(document: dict[str, Any]) -> RootUrl:
    text = _section(document, "taskcluster").get("root_url")
    if not isinstance(text, str):
        raise ValueError("[taskcluster] root_url is missing")
    try:
        return RootUrl.parse(text)
    except ValueError as error:
        raise ValueError(f"[taskcluster] root_url: {error}") from error
