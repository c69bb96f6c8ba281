"""``docker build``: carried out by a process with the rights of the task; what it leaves on its way is cleared here."""

import re
import secrets
from collections.abc import Iterator
from typing import Any, Final

from taskward.executor.docker.dind.checks import require_platform
from taskward.executor.docker.dind.context import Context, Route, route
from taskward.executor.docker.dind.errors import FORBIDDEN, WRONG, Refusal, forbidden
from taskward.executor.docker.dind.exchange import Exchange
from taskward.executor.docker.dind.fields import Fields, parse
from taskward.executor.docker.dind.holdings import Holdings, reference
from taskward.executor.docker.dind.images import forget

_LARGEST_CONTEXT: Final = 1 << 40
_CLASSIC: Final = ("", "1")
_NETWORKS: Final = ("", "default", "bridge")
_FILE: Final = re.compile(r"[^\0]{0,1000}")
_MOST_NAMES: Final = 50
_BUILDKIT: Final = "there is no BuildKit here: set DOCKER_BUILDKIT=0"


def build(context: Context, exchange: Exchange) -> None:
    """A Dockerfile and its files, which come with the request."""
    query, holdings = exchange.request.query, context.holdings
    require_platform(context.wire, query.text("platform"))
    if query.text("version") not in _CLASSIC:
        raise forbidden(_BUILDKIT)
    if query.text("networkmode") not in _NETWORKS:
        raise forbidden(
            f"networkmode: {query.text('networkmode')[:100]!r}: steps of a build have the task's own network"
        )
    if query.text("remote"):
        raise forbidden("remote: only what is sent with the request can be built")
    token = f"build-{secrets.token_hex(8)}"
    order = {
        "token": token,
        "dockerfile": _file(query.text("dockerfile") or "Dockerfile"),
        "arguments": _texts(query.text("buildargs")),
        "labels": _texts(query.text("labels")),
        "names": [reference(each) for each in query.texts("t")[:_MOST_NAMES]],
        "target": query.text("target")[:200],
        "pull": query.flag("pull"),
        "quiet": query.flag("q"),
        "most_bytes": holdings.most_bytes,
    }
    content = exchange.request.body.pieces(holdings.most_bytes or _LARGEST_CONTEXT)
    try:
        context.porter.build(order, content, exchange, lambda image: clear(context, token, image))
    except BaseException:
        clear(context, token, "")
        raise


def clear(context: Context, token: str, image: str) -> None:
    """What a build has left, but for the image that it was about."""
    holdings = context.holdings
    for each in [each for each in holdings.containers() if each.name.startswith(f"{token}-")]:
        context.wire.ask("DELETE", "containers", each.id, query={"force": "1", "v": "1"})
        holdings.forget_containers([each.id])
    for own in reversed(holdings.images()):
        for name in _intermediate(holdings, own.id, token):
            holdings.forget_name(name)
            if own.id != image and not holdings.names_of(own.id):
                forget(context, own)


def _intermediate(holdings: Holdings, image_id: str, token: str) -> Iterator[str]:
    return (name for name in holdings.names_of(image_id) if name.startswith(f"{token}:"))


def no_buildkit(_context: Context, _exchange: Exchange) -> None:
    """BuildKit's ways into the daemon."""
    raise Refusal(FORBIDDEN, _BUILDKIT)


def _texts(text: str) -> dict[str, str]:
    if not text or text == "null":
        return {}
    given: Any = parse(text.encode())
    if not isinstance(given, dict):
        raise Refusal(WRONG, "buildargs and labels are JSON objects")
    return Fields({"given": {name: value for name, value in given.items() if value is not None}}).table("given")


def _file(text: str) -> str:
    if not _FILE.fullmatch(text):
        raise Refusal(WRONG, "dockerfile is no path")
    return text


ROUTES: Final[tuple[Route, ...]] = (
    route("POST", "/build", build, "version", "networkmode", "remote", "dockerfile", "buildargs", "labels", "t",
          "target", "pull", "q", "rm", "forcerm", "nocache", "cachefrom", "platform"),
    route("POST", "/session", no_buildkit),
    route("POST", "/grpc", no_buildkit),
    route("POST", "/build/prune", no_buildkit),
)  # fmt: skip
