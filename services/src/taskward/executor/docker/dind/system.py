"""What clients ask first: who is there, and which API it speaks."""

import re
from typing import Any, Final

from taskward.executor.docker.dind.context import NAME, Context, Route, route
from taskward.executor.docker.dind.errors import NOT_FOUND, Refusal, forbidden
from taskward.executor.docker.dind.exchange import Exchange

OLDEST_API: Final = "1.24"
_CLASSIC_BUILDER: Final = "1"


def ping(context: Context, exchange: Exchange) -> None:
    """Also tells that there is no BuildKit."""
    exchange.text(
        "OK", Api_Version=context.wire.version, Docker_Experimental="false", Ostype="linux",
        Builder_Version=_CLASSIC_BUILDER, Cache_Control="no-cache",
    )  # fmt: skip


def version(context: Context, exchange: Exchange) -> None:
    """The daemon's, as far as it concerns a task."""
    told = context.wire.ask("GET", "version")
    kept = {name: told.get(name, "") for name in ("Version", "Os", "Arch")}
    api = {"ApiVersion": context.wire.version, "MinAPIVersion": OLDEST_API}
    engine = {"Name": "Engine", "Version": kept["Version"], "Details": {**api, "Os": kept["Os"], "Arch": kept["Arch"]}}
    exchange.reply(200, {**kept, **api, "Platform": {"Name": "taskward, filtered"}, "Components": [engine]})


def info(context: Context, exchange: Exchange) -> None:
    """Of the run, not of the host."""
    told, run = context.wire.ask("GET", "version"), context.confinement
    containers, images = context.holdings.containers(), context.holdings.images()
    exchange.reply(200, {
        "ID": "", "Name": "taskward", "ServerVersion": told.get("Version", ""), "OSType": told.get("Os", ""),
        "Architecture": told.get("Arch", ""), "OperatingSystem": "taskward, filtered", "Driver": "",
        "Containers": len(containers), "Images": len(images), "MemTotal": run.memory_bytes, "NCPU": 0,
        "LoggingDriver": "json-file", "CgroupVersion": "", "Swarm": {"LocalNodeState": "inactive"},
        "Plugins": {"Volume": ["local"], "Network": ["bridge", "none"], "Log": ["json-file"]}, "SecurityOptions": [],
        "RegistryConfig": {}, "IndexServerAddress": "", "Labels": [], "Warnings": None,
    })  # fmt: skip


def no_logins(_context: Context, _exchange: Exchange) -> None:
    """``docker login``."""
    raise forbidden(
        "logins are not used: the worker pulls images by the same rules as payload.image, with its own logins where "
        "the task has the scope docker-worker:image:<name>:<tag>"
    )


def nothing(_context: Context, exchange: Exchange) -> None:
    """A list of what no task has."""
    exchange.reply(200, [])


def no_plugin(_context: Context, _exchange: Exchange, name: str) -> None:
    """Clients look for one when they are asked for something that is nothing else."""
    raise Refusal(NOT_FOUND, f"plugin {name[:100]} not found")


def networks(_context: Context, exchange: Exchange) -> None:
    """There are these two; their ids are their names."""
    exchange.reply(200, [_network("bridge"), _network("none")])


def network(_context: Context, exchange: Exchange, name: str) -> None:
    """One of them."""
    if name not in ("bridge", "none"):
        raise Refusal(NOT_FOUND, f"network {name[:100]} not found")
    exchange.reply(200, _network(name))


def no_networks(_context: Context, _exchange: Exchange) -> None:
    """``docker network create``."""
    raise forbidden(
        "networks cannot be made: containers that must reach one another share one with --network container:<name>"
    )


def _network(name: str) -> dict[str, Any]:
    return {
        "Name": name, "Id": name, "Driver": "null" if name == "none" else name, "Scope": "local", "Internal": False,
        "Created": "1970-01-01T00:00:00Z", "EnableIPv6": False, "IPAM": {"Driver": "default", "Config": []},
        "Attachable": False, "Ingress": False, "Containers": {}, "Options": {}, "Labels": {},
    }  # fmt: skip


def is_known(version_asked: tuple[int, int], own: str) -> bool:
    """Whether a client's version of the API is one that is understood here."""
    newest = tuple(map(int, re.findall(r"\d+", own)))
    return (1, 12) <= version_asked <= newest


ROUTES: Final[tuple[Route, ...]] = (
    route("GET", "/_ping", ping),
    route("HEAD", "/_ping", ping),
    route("GET", "/version", version),
    route("GET", "/info", info),
    route("POST", "/auth", no_logins),
    route("GET", "/plugins", nothing, "filters"),
    route("GET", f"/plugins/{NAME}/json", no_plugin),
    route("GET", "/networks", networks, "filters"),
    route("GET", f"/networks/{NAME}", network, "scope", "verbose"),
    route("POST", "/networks/create", no_networks),
)
