"""Images that a task has. The daemon keeps them under pins; names are the task's alone."""

import re
from datetime import datetime
from typing import Any, Final

from taskward.executor.docker.dind import view
from taskward.executor.docker.dind.checks import filters
from taskward.executor.docker.dind.containers import refresh
from taskward.executor.docker.dind.context import NAME, Context, Route, route
from taskward.executor.docker.dind.errors import CONFLICT, NOT_FOUND, WRONG, Refusal, forbidden
from taskward.executor.docker.dind.exchange import Exchange
from taskward.executor.docker.dind.holdings import Image, named, reference
from taskward.executor.docker.dind.saving import saved

_NO_PUSH: Final = (
    "images cannot be pushed through the worker: save the image as an artifact (docker save), which other tasks use as "
    "payload.image of type task-image, or let a program in the task push it"
)


def listing(context: Context, exchange: Exchange) -> None:
    """Of the run's images."""
    query = exchange.request.query
    wanted = filters(query.fields("filters"), ("reference", "dangling"))
    if old := query.text("filter"):
        wanted.setdefault("reference", []).append(old)
    found = []
    for own in context.holdings.images():
        if (told := _told(context, own)) is None:
            continue
        seen = view.listed_image(told, _seconds(told.get("Created", "")), context.holdings)
        if _is_wanted(context.holdings.names_of(own.id), wanted):
            found.append(seen)
    exchange.reply(200, found)


def inspect(context: Context, exchange: Exchange, name: str) -> None:
    """One of them."""
    own = context.holdings.image(name)
    exchange.reply(200, view.image(context.wire.ask("GET", "images", own.id, "json"), context.holdings))


def history(context: Context, exchange: Exchange, name: str) -> None:
    """How it was made."""
    told = context.wire.ask("GET", "images", context.holdings.image(name).id, "history")
    exchange.reply(200, [{**each, "Id": "<missing>", "Tags": None} for each in told])


def tag(context: Context, exchange: Exchange, name: str) -> None:
    """One more name."""
    query = exchange.request.query
    context.holdings.add_image(context.holdings.image(name), named(query.text("repo"), query.text("tag")))
    exchange.reply(201)


def remove(context: Context, exchange: Exchange, name: str) -> None:
    """A name, and with the last name the image."""
    holdings, own = context.holdings, context.holdings.image(name)
    names = holdings.names_of(own.id)
    if holdings.is_name(name) and len(names) > 1:
        holdings.forget_name(name)
        exchange.reply(200, [{"Untagged": reference(name)}])
        return
    if len(names) > 1 and not exchange.request.query.flag("force"):
        raise Refusal(CONFLICT, f"image {own.id[7:19]} has several names: {', '.join(names)} (must be forced)")
    if _users(context, own):
        with holdings.creating:
            refresh(context)
    if used := _users(context, own):
        raise Refusal(CONFLICT, f"image {own.id[7:19]} is used by container {used[0]}")
    forget(context, own)
    exchange.reply(200, [*({"Untagged": each} for each in names), {"Deleted": own.id}])


def forget(context: Context, own: Image) -> None:
    """The daemon may remove it, unless somebody else needs it."""
    context.holdings.forget_image(own)
    try:
        context.wire.ask("DELETE", "images", own.pin)
    except Refusal as refusal:
        if refusal.status not in (NOT_FOUND, CONFLICT):
            raise


def save_one(context: Context, exchange: Exchange, name: str) -> None:
    """``docker save``, as the oldest clients ask."""
    _save(context, exchange, [name])


def save(context: Context, exchange: Exchange) -> None:
    """``docker save``."""
    _save(context, exchange, [name for each in exchange.request.query.texts("names") for name in each.split(",")])


def no_push(_context: Context, _exchange: Exchange, _name: str) -> None:
    """``docker push``."""
    raise forbidden(_NO_PUSH)


def _users(context: Context, own: Image) -> list[str]:
    return [each.name for each in context.holdings.containers() if each.image_id == own.id]


def _told(context: Context, own: Image) -> dict[str, Any] | None:
    """None for one that was removed a moment ago."""
    try:
        found: dict[str, Any] = context.wire.ask("GET", "images", own.id, "json")
    except Refusal as refusal:
        if refusal.status != NOT_FOUND:
            raise
        return None
    return found


def _save(context: Context, exchange: Exchange, names: list[str]) -> None:
    if not names:
        raise Refusal(WRONG, "names: at least one image is needed")
    wanted: dict[str, list[str]] = {}
    for name in names:
        found = context.holdings.image(name)
        wanted.setdefault(found.id, [])
        if context.holdings.is_name(name):
            wanted[found.id].append(reference(name))
    answer = context.wire.open("GET", "images", "get", query={"names": list(wanted)})
    with answer:
        exchange.on_hangup(answer.abort)
        exchange.stream(saved(answer, wanted), "application/x-tar")


def _is_wanted(names: list[str], wanted: dict[str, list[str]]) -> bool:
    references = [reference(each) if ":" in each else each for each in wanted.get("reference", ())]
    if any(each.lower() in ("true", "1") for each in wanted.get("dangling", ())) and names:
        return False
    return not references or any(name == each or name.startswith(f"{each}:") for name in names for each in references)


def _seconds(text: str) -> int:
    found = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text)
    return int(datetime.fromisoformat(f"{found[0]}+00:00").timestamp()) if found else 0


ROUTES: Final[tuple[Route, ...]] = (
    route("GET", "/images/json", listing, "all", "filter", "filters", "digests", "shared-size"),
    route("GET", "/images/get", save, "names"),
    route("GET", f"/images/{NAME}/json", inspect),
    route("GET", f"/images/{NAME}/history", history),
    route("GET", f"/images/{NAME}/get", save_one),
    route("POST", f"/images/{NAME}/tag", tag, "repo", "tag", "force"),
    route("POST", f"/images/{NAME}/push", no_push, "tag"),
    route("DELETE", f"/images/{NAME}", remove, "force", "noprune"),
)
