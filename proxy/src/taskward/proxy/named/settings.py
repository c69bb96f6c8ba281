"""``[proxy.upstreams.<name>]``: the servers that tasks in containers may reach by name, by the name of the feature."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from taskward.proxy import tables
from taskward.proxy.routes import RootUrl
from taskward.proxy.via import Via

TASKCLUSTER: Final = "taskcluster"
"""Name and alias of the one that is always there; no other may have them."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_ALIAS: Final = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_PREFIX: Final = re.compile(r"/|(/[A-Za-z0-9._~-]+)+")
_FIELD_NAME: Final = re.compile(r"[A-Za-z0-9-]+")
_FIELD_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})

_BALROG: Final = {
    "alias": "balrog",
    "ready_status": [401],
    "headers": {
        "X-Forwarded-Host": "$host",
        "X-Forwarded-For": "$peer",
        "X-Real-IP": "$peer",
        "X-NginX-Proxy": "true",
    },
}
_RELENG: Final = {f"/{name}": f"https://{name}.mozilla-releng.net" for name in ("tooltool", "treestatus", "mapper")}

_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "balrogVPNProxy": {**_BALROG, "scope": "docker-worker:feature:balrogVPNProxy"},
    "balrogStageVPNProxy": {**_BALROG, "scope": "docker-worker:feature:balrogStageVPNProxy"},
    "relengAPIProxy": {"alias": "relengapi", "routes": _RELENG},
    "testdroidProxy": {"alias": "testdroid"},
}
_NEEDED: Final = {"relengAPIProxy": "token", "testdroidProxy": "device_cloud"}


@dataclass(frozen=True)
class TokenSettings:
    """A service that gives short-lived tokens for the permissions that stand in a task's scopes, word for word.

    `issuing_token_file` holds what we show it; nobody but the proxy's user may read that file.
    """

    issuing_token_file: Path
    url: RootUrl = field(default_factory=lambda: RootUrl.parse("https://tokens.mozilla-releng.net"))
    path: str = "/tokens"
    scope_prefix: str = "docker-worker:relengapi-proxy:"
    lifetime_s: int = 600
    timeout_s: float = 30.0


@dataclass(frozen=True)
class DeviceCloudSettings:
    """A cloud of phones: reserving one means asking for it again and again, for the times given here.

    `login_file` holds JSON, ``{"username": …, "password": …}``; nobody but the proxy's user may read it. `proxy_host`
    is what tasks are told as the address of a device's own ports.
    """

    login_file: Path
    proxy_host: str = "10.1.2.9"
    flash_project: str = "flash-fxos-new-url"
    poll_s: float = 10.0
    flash_timeout_s: float = 600.0
    session_pause_s: float = 2.0
    proxy_pause_s: float = 5.0
    reserve_timeout_s: float = 1320.0


@dataclass(frozen=True)
class NamedUpstream:
    """One server, or several behind one name.

    Attributes:
        alias: the host name that tasks use.
        scope: what ``task.scopes`` must satisfy; empty for none.
        url: where it is; instead of
        routes: first part of the path → where that part is; it is cut off. Other paths are 404.
        headers: fields set on each request, in place of the task's own. ``$host`` stands for the host that the task
            named, ``$peer`` for the task's address.
        ready_status: what it must answer before a task begins; empty: it is not asked.
        ready_timeout_s: for one such question.
        via: a proxy on the way.
        token: where to get the token of each request's Authorization field.
        device_cloud: it is a cloud of devices (at `url`), which tasks reserve; see `devices`.
    """

    alias: str
    url: RootUrl | None = None
    routes: Mapping[str, RootUrl] = field(default_factory=dict)
    scope: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    ready_status: tuple[int, ...] = ()
    ready_timeout_s: float = 5.0
    connect_timeout_s: float = 10.0
    timeout_s: float = 120.0
    retry_for_s: float = 15.0
    via: Via | None = None
    token: TokenSettings | None = None
    device_cloud: DeviceCloudSettings | None = None


def parse(tables_by_name: object) -> dict[str, NamedUpstream]:
    """All of ``[proxy.upstreams]``; ValueError names the key, what is wrong with it, and the remedy."""
    if not isinstance(tables_by_name, Mapping):
        raise ValueError("[proxy.upstreams] must hold one table for each upstream")
    return {name: _one(name, table) for name, table in tables_by_name.items()}


def _one(name: str, table: object) -> NamedUpstream:
    where = f"[proxy.upstreams.{name}]"
    if not _NAME.fullmatch(name) or name == TASKCLUSTER:
        raise ValueError(f"{where}: the name must be letters and digits, and not {TASKCLUSTER}")
    if not isinstance(table, Mapping):
        raise ValueError(f"{where} must be a table")
    defaults = dict(_DEFAULTS.get(name, {}))
    if "url" in table:
        defaults.pop("routes", None)
    upstream = tables.read(NamedUpstream, {**defaults, **table}, where)
    if name in _NEEDED and getattr(upstream, _NEEDED[name]) is None:
        raise ValueError(f"{where} {_NEEDED[name]} is missing")
    for flaw in _flaws(upstream):
        raise ValueError(f"{where} {flaw}")
    return replace(upstream, routes={"/": upstream.url}) if upstream.url is not None else upstream


def _flaws(upstream: NamedUpstream) -> list[str]:
    flaws = []
    if not _ALIAS.fullmatch(upstream.alias) or upstream.alias == TASKCLUSTER:
        flaws.append(f"alias must be a short host name in lower case, and not {TASKCLUSTER}: {upstream.alias!r}")
    if (upstream.url is None) == (not upstream.routes):
        flaws.append("must have either url or routes")
    flaws += [f"routes {each!r}: a prefix is / or /name" for each in upstream.routes if not _PREFIX.fullmatch(each)]
    flaws += [f"headers {name}: {flaw}" for name, value in upstream.headers.items() if (flaw := _flaw(name, value))]
    if upstream.token is not None and "authorization" in map(str.lower, upstream.headers):
        flaws.append("headers Authorization: that is where the token goes")
    if upstream.device_cloud is not None and upstream.url is None:
        flaws.append("url is missing: where the device cloud is")
    return flaws


def _flaw(name: str, value: str) -> str:
    if not _FIELD_NAME.fullmatch(name) or name.lower() in _OURS:
        return "this field cannot be set"
    if not _FIELD_VALUE.fullmatch(value):
        return "the value must be printable ASCII"
    return "" if "$" not in value.replace("$host", "").replace("$peer", "") else "only $host and $peer are replaced"
