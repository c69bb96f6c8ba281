"""Volumes of a task's own: directories that the daemon makes, under names that nobody else can guess."""

from typing import Any, Final

from taskward.executor.docker.dind import view
from taskward.executor.docker.dind.config import labels
from taskward.executor.docker.dind.context import NAME, Context, Route, route
from taskward.executor.docker.dind.errors import NOT_FOUND, Refusal
from taskward.executor.docker.dind.exchange import Exchange
from taskward.executor.docker.dind.fields import Fields
from taskward.executor.docker.dind.holdings import new_name


def ensure_volume(context: Context, name: str) -> str:
    """The daemon's name of one that may be made now."""
    try:
        return context.holdings.volume(name)
    except Refusal:
        return str(_make(context, name, {})["Name"])


def listing(context: Context, exchange: Exchange) -> None:
    """All of the run's."""
    found = [_told(context, name) for name in context.holdings.volumes()]
    exchange.reply(200, {"Volumes": found, "Warnings": []})


def create(context: Context, exchange: Exchange) -> None:
    """One with a name; twice is harmless."""
    fields = Fields.read(exchange.request.body.whole())
    name, driver = fields.text("Name") or new_name(), fields.text("Driver", "local")
    marks = labels(fields)
    fields.close()
    if name not in context.holdings.volumes():
        _make(context, name, marks, driver)
    exchange.reply(201, _told(context, name))


def inspect(context: Context, exchange: Exchange, name: str) -> None:
    """One of them."""
    exchange.reply(200, _told(context, name))


def remove(context: Context, exchange: Exchange, name: str) -> None:
    """Refused while a container uses it."""
    own = context.holdings.volume(name)
    try:
        context.wire.ask("DELETE", "volumes", own)
    except Refusal as refusal:
        if refusal.status != NOT_FOUND:
            raise
    context.holdings.forget_volume(name)
    exchange.empty()


def _make(context: Context, name: str, marks: dict[str, str], driver: str = "local") -> dict[str, Any]:
    own = f"{context.confinement.name_prefix}{new_name()}"
    context.holdings.add_volume(name, own)
    try:
        wanted = {"Name": own, "Driver": driver or "local", "Labels": {**marks, **context.confinement.labels}}
        made: dict[str, Any] = context.wire.ask("POST", "volumes", "create", body=wanted)
    except BaseException:
        context.holdings.forget_volume(name)
        raise
    return made


def _told(context: Context, name: str) -> dict[str, Any]:
    return view.volume(context.wire.ask("GET", "volumes", context.holdings.volume(name)), name)


ROUTES: Final[tuple[Route, ...]] = (
    route("GET", "/volumes", listing, "filters"),
    route("POST", "/volumes/create", create),
    route("GET", f"/volumes/{NAME}", inspect),
    route("DELETE", f"/volumes/{NAME}", remove, "force"),
)
