"""Images of a task's own, and those that it may pull. The daemon keeps them under pins; names are the task's alone."""

import base64
import binascii
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from datetime import datetime
from tempfile import TemporaryFile
from typing import Any, Final

from taskward.executor.docker.dind import view
from taskward.executor.docker.dind.config import labels, program
from taskward.executor.docker.dind.containers import filters, refresh
from taskward.executor.docker.dind.context import NAME, Context, Route, route
from taskward.executor.docker.dind.errors import CONFLICT, NOT_FOUND, WRONG, Refusal, forbidden
from taskward.executor.docker.dind.exchange import Exchange
from taskward.executor.docker.dind.fields import Fields
from taskward.executor.docker.dind.holdings import Image, reference
from taskward.executor.docker.dind.saving import saved
from taskward.executor.docker.images.reference import Reference
from taskward.executor.docker.labels import RUN, STATE, WORKER

_LARGEST_ARCHIVE: Final = 1 << 40
_ANY_REGISTRY: Final = "*"
_HUB: Final = "docker.io"
_TAG: Final = re.compile(r"[\w][\w.-]{0,127}|sha256:[0-9a-f]{64}", re.ASCII)
_WITHOUT_OWNER: Final = {RUN: "", WORKER: "", STATE: ""}
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
    context.holdings.add_image(context.holdings.image(name), _named(query.text("repo"), query.text("tag")))
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


def create(context: Context, exchange: Exchange) -> None:
    """``docker pull`` and ``docker import``."""
    query = exchange.request.query
    if source := query.text("fromSrc"):
        if source != "-":
            raise forbidden("fromSrc: only what is sent with the request can be imported")
        _import(context, exchange)
        return
    _refuse_login(exchange.request.headers.get("x-registry-auth", ""))
    exchange.messages(_pull(context, _pullable(context, query.text("fromImage"), query.text("tag"))))


def commit(context: Context, exchange: Exchange) -> None:
    """A container as an image."""
    query = exchange.request.query
    own = context.holdings.container(query.text("container"))
    fields = Fields.read(exchange.request.body.whole())
    config = {**program(fields), "Labels": {**labels(fields), **_WITHOUT_OWNER}}
    fields.drop("Image", "ArgsEscaped")
    fields.close()
    names = [_named(query.text("repo"), query.text("tag"))] if query.text("repo") else []
    repository, pin = context.pin(secrets.token_hex(8))
    passed = {"container": own.id, "repo": repository, "tag": pin, "pause": "1" if query.flag("pause") else "0"}
    passed |= {"comment": query.text("comment")[:1000], "author": query.text("author")[:1000]}
    with context.wire.open("POST", "commit", query=passed, body=config) as answer:
        made = str(answer.document()["Id"])
    base = context.wire.ask("GET", "images", own.image_id, "json")
    kept = _keep(context, made, f"{repository}:{pin}", int(base.get("Size", 0)), names)
    exchange.reply(201, {"Id": kept.id})


def load(context: Context, exchange: Exchange) -> None:
    """``docker load``: taken apart and written anew by a process with the task's rights."""
    digest, (repository, pin) = hashlib.sha256(), context.pin(secrets.token_hex(8))
    with TemporaryFile(dir=context.scratch, buffering=0) as spool:
        for piece in exchange.request.body.pieces(context.holdings.most_bytes or _LARGEST_ARCHIVE):
            digest.update(piece)
            spool.write(piece)
        file = os.open(f"/proc/self/fd/{spool.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        names = [reference(each) for each in context.porter.load(file, digest.hexdigest(), f"{repository}:{pin}")]
    finally:
        os.close(file)
    told = context.wire.ask("GET", "images", f"{repository}:{pin}", "json")
    kept = _keep(context, told["Id"], f"{repository}:{pin}", 0, names)
    lines = [f"Loaded image: {each}" for each in names] or [f"Loaded image ID: {kept.id}"]
    exchange.messages([{"stream": f"{each}\n"} for each in lines])


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


def _pullable(context: Context, name: str, tag: str) -> Reference:
    if not name or (not tag and "@" not in name and ":" not in name.rpartition("/")[2]):
        raise Refusal(WRONG, "fromImage and tag are needed: all tags at once cannot be pulled")
    wanted = Reference.parse(_named(name, tag))
    host = wanted.host or _HUB
    if not {host, _ANY_REGISTRY} & set(context.registries):
        allowed = ", ".join(context.registries) or "no registry"
        raise forbidden(f"nothing can be pulled from {host}: the worker allows {allowed} ([docker] dind_registries)")
    return wanted


def _pull(context: Context, wanted: Reference) -> Iterator[dict[str, Any]]:
    yield {"status": f"Pulling from {wanted.repository}", "id": wanted.digest or wanted.tag}
    repository, pin = context.pin(secrets.token_hex(8))
    context.porter.pull(str(wanted), f"{repository}:{pin}")
    told = context.wire.ask("GET", "images", f"{repository}:{pin}", "json")
    _keep(context, told["Id"], f"{repository}:{pin}", int(told.get("Size", 0)), [str(wanted)])
    yield {"status": f"Status: Image is up to date for {wanted}"}


def _import(context: Context, exchange: Exchange) -> None:
    query, (repository, pin) = exchange.request.query, context.pin(secrets.token_hex(8))
    names = [_named(query.text("repo"), query.text("tag"))] if query.text("repo") else []
    most = context.holdings.most_bytes or _LARGEST_ARCHIVE
    passed = {"fromSrc": "-", "repo": repository, "tag": pin, "message": query.text("message")[:1000]}
    answer = context.wire.open("POST", "images", "create", query=passed, content=exchange.request.body.pieces(most))
    with answer:
        for _ in answer.lines():
            pass
    told = context.wire.ask("GET", "images", f"{repository}:{pin}", "json")
    kept = _keep(context, told["Id"], f"{repository}:{pin}", 0, names)
    exchange.messages([{"status": kept.id}])


def _keep(context: Context, image_id: str, pin: str, shared_bytes: int, names: list[str]) -> Image:
    """What the daemon has under a new pin is the run's; the pin goes again where there was one, or it may not be."""
    told = context.wire.ask("GET", "images", pin, "json")
    image = Image(image_id, pin, max(0, int(told.get("Size", 0)) - shared_bytes))
    try:
        kept = context.holdings.add_image(image, *names)
    except Refusal:
        context.wire.ask("DELETE", "images", pin)
        raise
    if kept.pin != pin:
        context.wire.ask("DELETE", "images", pin)
    return kept


def _named(repository: str, tag: str) -> str:
    if not tag:
        return reference(repository)
    if not _TAG.fullmatch(tag) or "@" in repository:
        raise Refusal(WRONG, f"{tag[:100]!r} is no tag of an image")
    return reference(f"{repository}@{tag}" if ":" in tag else f"{repository}:{tag}")


def _refuse_login(header: str) -> None:
    """Every client sends one, which says nothing unless somebody has logged in."""
    try:
        text = header.replace("-", "+").replace("_", "/") + "=" * (-len(header) % 4)
        told = Fields.read(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise Refusal(WRONG, "X-Registry-Auth cannot be read") from error
    told.drop("serveraddress", "email")
    if not told.is_empty:
        raise forbidden(
            "logins of a task are not used: log out, and give the task the scope docker-worker:image:<name>:<tag> for "
            "the worker's own"
        )


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
    route("POST", "/images/create", create, "fromImage", "tag", "fromSrc", "repo", "message", "platform"),
    route("POST", "/images/load", load, "quiet"),
    route("POST", "/commit", commit, "container", "repo", "tag", "comment", "author", "pause"),
    route("GET", f"/images/{NAME}/json", inspect),
    route("GET", f"/images/{NAME}/history", history),
    route("GET", f"/images/{NAME}/get", save_one),
    route("POST", f"/images/{NAME}/tag", tag, "repo", "tag", "force"),
    route("POST", f"/images/{NAME}/push", no_push, "tag"),
    route("DELETE", f"/images/{NAME}", remove, "force", "noprune"),
)
