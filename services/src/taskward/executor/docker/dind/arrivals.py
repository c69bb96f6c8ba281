"""How images come to a task: pulled, imported, loaded, or made of a container."""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import Any, Final

from taskward.executor.docker.dind.checks import require_platform
from taskward.executor.docker.dind.config import labels, program
from taskward.executor.docker.dind.context import Context, Route, route
from taskward.executor.docker.dind.errors import WRONG, Refusal, forbidden
from taskward.executor.docker.dind.exchange import Exchange
from taskward.executor.docker.dind.fields import Fields
from taskward.executor.docker.dind.holdings import Image, named, reference
from taskward.executor.docker.images.reference import Reference
from taskward.executor.docker.labels import RUN, STATE, WORKER

_LARGEST_ARCHIVE: Final = 1 << 40
_ANY_REGISTRY: Final = "*"
_HUB: Final = "docker.io"
_WITHOUT_OWNER: Final = {RUN: "", WORKER: "", STATE: ""}


def create(context: Context, exchange: Exchange) -> None:
    """``docker pull`` and ``docker import``."""
    query = exchange.request.query
    require_platform(context.wire, query.text("platform"))
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
    names = [named(query.text("repo"), query.text("tag"))] if query.text("repo") else []
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
        names = [reference(each) for each in context.porter.names(file)]
        context.porter.load(file, digest.hexdigest(), f"{repository}:{pin}")
    finally:
        os.close(file)
    told = context.wire.ask("GET", "images", f"{repository}:{pin}", "json")
    kept = _keep(context, told["Id"], f"{repository}:{pin}", 0, names)
    lines = [f"Loaded image: {each}" for each in names] or [f"Loaded image ID: {kept.id}"]
    exchange.messages([{"stream": f"{each}\n"} for each in lines])


def _pullable(context: Context, name: str, tag: str) -> Reference:
    if not name or (not tag and "@" not in name and ":" not in name.rpartition("/")[2]):
        raise Refusal(WRONG, "fromImage and tag are needed: all tags at once cannot be pulled")
    wanted = Reference.parse(named(name, tag))
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
    names = [named(query.text("repo"), query.text("tag"))] if query.text("repo") else []
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


ROUTES: Final[tuple[Route, ...]] = (
    route("POST", "/images/create", create, "fromImage", "tag", "fromSrc", "repo", "message", "platform"),
    route("POST", "/images/load", load, "quiet"),
    route("POST", "/commit", commit, "container", "repo", "tag", "comment", "author", "pause"),
)
