"""Which server is a container's request for? The host that it names decides, among those that its run may use."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from taskward.proxy.connection import TaskSocket
from taskward.proxy.credentials import Vault
from taskward.proxy.errors import RequestError
from taskward.proxy.forward import Forwarder, StartResponse
from taskward.proxy.named.settings import TASKCLUSTER, NamedUpstream
from taskward.proxy.routes import origin_form

_ABSOLUTE: Final = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"([a-z0-9.-]*?)\.?(?::[0-9]{0,5})?")


class Handler(Protocol):
    """Serves the requests for one upstream, as `forward.Forwarder` does; the path is the task's own."""

    def serve(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        """Answer one request; RequestError or ClientGone while nothing was sent."""
        ...


class Routes:
    """One or several servers behind one name: the first part of the path decides, and is cut off."""

    def __init__(self, alias: str, forwarders: Mapping[str, Forwarder]) -> None:
        self._alias = alias
        self._forwarders = dict(sorted(forwarders.items(), key=lambda route: -len(route[0])))

    def serve(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        """See `Handler`; RequestError 404 for a path that leads to none."""
        path = origin_form(environ["RAW_URI"])
        for prefix, forwarder in self._forwarders.items():
            if (target := _below(path, prefix)) is not None:
                return forwarder.forward(environ, target, start)
        known = ", ".join(sorted(self._forwarders))
        raise RequestError(404, "UnknownRoute", f"http://{self._alias} has {known}, and nothing at {path[:200]}.")


class Dispatch:
    """All upstreams of the settings."""

    def __init__(self, upstreams: Mapping[str, NamedUpstream], handler: Callable[[str], Handler], vault: Vault) -> None:
        self._upstreams = upstreams
        self._handlers = {name: handler(name) for name in upstreams}
        self._vault = vault

    def find(self, environ: dict[str, Any], sock: TaskSocket) -> Handler | None:
        """Who serves a container's request; None for Taskcluster.

        RequestError: 404 for a host that its run does not have, 403 for one whose scope it lacks.
        """
        name = self._name(_host(environ), sock.address, sock.upstreams or frozenset())
        if name == TASKCLUSTER:
            return None
        scope = self._upstreams[name].scope
        if scope and not _satisfied(scope, self._vault.get(str(sock.run_key)).scopes):
            raise RequestError(403, "InsufficientScopes", f"This task lacks the scope {scope}.")
        return self._handlers[name]

    def _name(self, host: str, address: str, enabled: frozenset[str]) -> str:
        known = {self._upstreams[name].alias: name for name in sorted(enabled) if name in self._upstreams}
        if TASKCLUSTER in enabled:
            known[TASKCLUSTER] = TASKCLUSTER
            if host in ("", address):
                return TASKCLUSTER
        if host not in known:
            has = ", ".join(f"http://{alias}" for alias in sorted(known)) or "none"
            raise RequestError(404, "UnknownHost", f"This task has no {host[:200]!r} here; it has: {has}.")
        return known[host]


def _host(environ: Mapping[str, Any]) -> str:
    """What the request names, in lower case and without a port; the absolute form counts more than Host (RFC 9112)."""
    absolute = _ABSOLUTE.match(environ["RAW_URI"])
    named = absolute[1] if absolute else str(environ.get("HTTP_HOST", ""))
    authority = _AUTHORITY.fullmatch(named.lower())
    return authority[1] if authority else named


def _below(path: str, prefix: str) -> str | None:
    """`path` as it is below `prefix`; None where it is not."""
    rest = path.removeprefix(prefix.rstrip("/"))
    if prefix == "/":
        return path if path.startswith("/") else None
    if rest == path or rest[:1] not in ("", "/", "?"):
        return None
    return rest if rest.startswith("/") else f"/{rest}"


def _satisfied(wanted: str, scopes: Iterable[str]) -> bool:
    return any(wanted == scope or (scope.endswith("*") and wanted.startswith(scope[:-1])) for scope in scopes)
