"""Containers of a task's own."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from taskward.executor.docker.dind import view
from taskward.executor.docker.dind.checks import DETACH_KEYS, NUMBER, checked, filters, require_platform
from taskward.executor.docker.dind.config import Own, container_config
from taskward.executor.docker.dind.context import NAME, Context, Route, route
from taskward.executor.docker.dind.errors import NOT_FOUND, WRONG, Refusal, forbidden
from taskward.executor.docker.dind.exchange import Exchange
from taskward.executor.docker.dind.fields import Fields
from taskward.executor.docker.dind.holdings import Container, new_name
from taskward.executor.docker.dind.volumes import ensure_volume
from taskward.executor.docker.labels import RUN

_SIGNAL: Final = re.compile(r"[A-Za-z0-9+-]{0,20}")
_PATH: Final = re.compile(r"[^\0]{1,4096}", re.DOTALL)
_ARGUMENTS: Final = re.compile(r"[A-Za-z0-9 ,=-]{0,100}")
_LARGEST_ARCHIVE: Final = 1 << 40
_FILTERS: Final[tuple[str, ...]] = ("status", "label", "exited", "health")
_STAT: Final = "X-Docker-Container-Path-Stat"


def create(context: Context, exchange: Exchange) -> None:
    """Nothing runs yet."""
    holdings, query = context.holdings, exchange.request.query
    name = query.text("name").removeprefix("/") or new_name()
    require_platform(context.wire, query.text("platform"))
    wanted = container_config(exchange.request.body.whole(), context.confinement, _own(context))
    with holdings.creating:
        if len(holdings.containers()) >= holdings.most_containers or any(x.name == name for x in holdings.containers()):
            refresh(context)
        if len(holdings.containers()) >= holdings.most_containers:
            raise forbidden(
                f"a task has at most {holdings.most_containers} containers ([docker] dind_max_containers): remove some"
            )
        holdings.require_free(name)
        own_name = f"{context.confinement.name_prefix}{new_name()}"
        made = context.wire.ask("POST", "containers", "create", query={"name": own_name}, body=wanted.config)
        image_id = wanted.config["Image"]
        holdings.add_container(Container(made["Id"], name, wanted.image, image_id, wanted.network))
    exchange.reply(201, {"Id": made["Id"], "Warnings": made.get("Warnings") or []})


def refresh(context: Context) -> None:
    """Containers that removed themselves are forgotten; while nothing is created (`Holdings.creating`)."""
    there = {each["Id"] for each in _listed(context, {}, {"all": "1"})}
    context.holdings.forget_containers({each.id for each in context.holdings.containers()} - there)


def listing(context: Context, exchange: Exchange) -> None:
    """Of the run's containers."""
    query = exchange.request.query
    wanted = filters(query.fields("filters"), (*_FILTERS, "name", "id"))
    passed: dict[str, list[str]] = {name: wanted[name] for name in _FILTERS if name in wanted}
    options = {"all": "1" if query.flag("all") else "0", "size": "1" if query.flag("size") else "0"}
    own = {each.id: each for each in context.holdings.containers()}
    found = [
        view.listed_container(each, own[each["Id"]])
        for each in _listed(context, passed, options)
        if each["Id"] in own and _is_called(own[each["Id"]], wanted)
    ]
    most = int(checked(query.text("limit"), NUMBER) or 0)
    exchange.reply(200, found[:most] if most > 0 else found)


def inspect(context: Context, exchange: Exchange, name: str) -> None:
    """One of them."""
    own = context.holdings.container(name)
    size = {"size": "1"} if exchange.request.query.flag("size") else None
    told = context.wire.ask("GET", "containers", own.id, "json", query=size)
    exchange.reply(200, view.container(told, own, context.holdings))


def simple(verb: str) -> Any:
    """A handler for what needs nothing but the container's id, and at most a time or a signal."""

    def act(context: Context, exchange: Exchange, name: str) -> None:
        query, own = exchange.request.query, context.holdings.container(name)
        if not Fields.read(exchange.request.body.whole()).is_empty:  # before API 1.24 it could change the container
            raise forbidden(f"{verb} takes no body")
        passed = {"t": checked(query.text("t"), NUMBER), "signal": checked(query.text("signal"), _SIGNAL)}
        passed |= {"h": checked(query.text("h"), NUMBER), "w": checked(query.text("w"), NUMBER)}
        passed["detachKeys"] = checked(query.text("detachKeys"), DETACH_KEYS)
        query_used = {key: value for key, value in passed.items() if value}
        answer = context.wire.open("POST", "containers", own.id, verb, query=query_used)
        with answer:
            exchange.empty(answer.status)

    return act


def remove(context: Context, exchange: Exchange, name: str) -> None:
    """With the volumes that nobody has named: nobody would find them again."""
    own = context.holdings.container(name)
    passed = {"force": "1" if exchange.request.query.flag("force") else "0", "v": "1"}
    try:
        context.wire.ask("DELETE", "containers", own.id, query=passed)
    except Refusal as refusal:
        if refusal.status == NOT_FOUND:
            context.holdings.forget_containers([own.id])
        raise
    context.holdings.forget_containers([own.id])
    exchange.empty()


def rename(context: Context, exchange: Exchange, name: str) -> None:
    """For the task alone."""
    own = context.holdings.container(name)
    context.holdings.rename(own, exchange.request.query.text("name").removeprefix("/"))
    exchange.empty()


def look(kind: str) -> Any:
    """A handler for what is only read."""

    def act(context: Context, exchange: Exchange, name: str) -> None:
        own = context.holdings.container(name)
        arguments = checked(exchange.request.query.text("ps_args"), _ARGUMENTS)
        query = {"ps_args": arguments} if arguments else None
        exchange.relay(context.wire.open("GET", "containers", own.id, kind, query=query))

    return act


def archive(context: Context, exchange: Exchange, name: str) -> None:
    """``docker cp``, both ways."""
    query, own = exchange.request.query, context.holdings.container(name)
    path = {"path": checked(query.text("path"), _PATH)}
    if exchange.request.method == "PUT":
        for flag in ("noOverwriteDirNonDir", "copyUIDGID"):
            path[flag] = "1" if query.flag(flag) else "0"
        content = exchange.request.body.pieces(_LARGEST_ARCHIVE)
        with context.wire.open("PUT", "containers", own.id, "archive", query=path, content=content):
            exchange.empty(200)
        return
    answer = context.wire.open(exchange.request.method, "containers", own.id, "archive", query=path)
    if exchange.request.method == "HEAD":
        with answer:
            exchange.head(200, **{_STAT: answer.header(_STAT)})
        return
    with answer:
        exchange.on_hangup(answer.abort)
        exchange.stream(answer.pieces(), "application/x-tar", **{_STAT: answer.header(_STAT)})


def _listed(context: Context, wanted: Mapping[str, list[str]], options: Mapping[str, str]) -> list[dict[str, Any]]:
    run = f"{RUN}={context.confinement.labels[RUN]}"
    passed = {**wanted, "label": [*wanted.get("label", ()), run]}
    query = {**options, "filters": json.dumps(passed)}
    found: list[dict[str, Any]] = context.wire.ask("GET", "containers", "json", query=query)
    return found


def _is_called(own: Container, wanted: Mapping[str, list[str]]) -> bool:
    names, ids = wanted.get("name", []), wanted.get("id", [])
    return (not names or any(each.strip("/^$") in own.name for each in names)) and (
        not ids or any(own.id.startswith(each) for each in ids)
    )


def _own(context: Context) -> Own:
    holdings = context.holdings
    return Own(
        image=lambda text: holdings.image(text).id,
        container=lambda text: holdings.container(text).id,
        network_container=lambda text: _network_container(context, text),
        volume=lambda text: ensure_volume(context, text),
    )


def _network_container(context: Context, text: str) -> str:
    """One of the run's; by its host name, also the task's own container, so that both are ``localhost``."""
    try:
        return context.holdings.container(text).id
    except Refusal as refusal:
        told = context.wire.ask("GET", "containers", context.main, "json")
        if len(text) >= 12 and (told["Id"].startswith(text) or told["Config"].get("Hostname") == text):
            return str(told["Id"])
        raise Refusal(WRONG, refusal.message) from refusal  # not 404: clients would pull the image, and ask again


ROUTES: Final[tuple[Route, ...]] = (
    route("GET", "/containers/json", listing, "all", "limit", "size", "filters"),
    route("POST", "/containers/create", create, "name", "platform"),
    route("GET", f"/containers/{NAME}/json", inspect, "size"),
    route("GET", f"/containers/{NAME}/top", look("top"), "ps_args"),
    route("GET", f"/containers/{NAME}/changes", look("changes")),
    route("GET", f"/containers/{NAME}/export", look("export")),
    route("POST", f"/containers/{NAME}/start", simple("start"), "detachKeys"),
    route("POST", f"/containers/{NAME}/stop", simple("stop"), "t", "signal"),
    route("POST", f"/containers/{NAME}/restart", simple("restart"), "t", "signal"),
    route("POST", f"/containers/{NAME}/kill", simple("kill"), "signal"),
    route("POST", f"/containers/{NAME}/pause", simple("pause")),
    route("POST", f"/containers/{NAME}/unpause", simple("unpause")),
    route("POST", f"/containers/{NAME}/resize", simple("resize"), "h", "w"),
    route("POST", f"/containers/{NAME}/rename", rename, "name"),
    route("DELETE", f"/containers/{NAME}", remove, "v", "force"),
    *(
        route(method, f"/containers/{NAME}/archive", archive, "path", "noOverwriteDirNonDir", "copyUIDGID")
        for method in ("GET", "HEAD", "PUT")
    ),
)
