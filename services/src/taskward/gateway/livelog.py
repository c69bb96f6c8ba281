"""``/log/<token>``: the live log of a task."""

from functools import partial
from pathlib import Path
from typing import Final

from flask import Blueprint, Response, request

from taskward.gateway import extent
from taskward.gateway.extent import Extent
from taskward.gateway.follower import Follower
from taskward.gateway.handover import Handover
from taskward.gateway.logfile import LogFile, components
from taskward.gateway.tokens import Registry

OFFSET_HEADER: Final = "X-Log-Offset"
"""Header with the offset of the first byte of an answer: with it a reader of ``?tail=`` can resume."""

_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "Range",
    "Access-Control-Max-Age": "86400",
}


def blueprint(logs_dir: Path, registry: Registry, follower: Follower) -> Blueprint:
    """The routes; what may be asked for is written in `extent.py`, errors are answered by `app.py`."""
    routes = Blueprint("livelog", __name__)

    @routes.route("/log/<_token>", methods=["OPTIONS"], provide_automatic_options=False)
    def preflight(_token: str) -> Response:
        """Allow a page of any origin to ask with a Range; says nothing about the token."""
        return Response(status=204, headers=_PREFLIGHT)

    @routes.get("/log/<token>", provide_automatic_options=False)
    def read(token: str) -> Response:
        """Send the wanted part of the log; a HEAD tells what a GET would answer."""
        parts = components(logs_dir, registry.path(token))
        wanted = _wanted(logs_dir, parts)
        answer = Response(status=206 if wanted.content_range else 200, content_type="text/plain; charset=utf-8")
        answer.headers.update(_headers(wanted))
        answer.automatically_set_content_length = False  # a HEAD's answer has no body, and tells the length of a GET's
        if request.method == "GET" and wanted.length_bytes != 0:
            follower.check_room()
            chunked = wanted.length_bytes is None and request.environ["SERVER_PROTOCOL"] == "HTTP/1.1"
            take = partial(follower.follow, parts=parts, extent=wanted, chunked=chunked)
            answer.response = Handover(request.environ["gunicorn.socket"], take)
            answer.direct_passthrough = True
        return answer

    return routes


def _wanted(logs_dir: Path, parts: tuple[str, ...]) -> Extent:
    """What the request wants of the log as it is now."""
    wish = extent.parse(request.args.to_dict(), request.headers.get("Range"), request.headers.get("If-Range"))
    with LogFile(logs_dir, parts) as log:
        log.refresh()
        return extent.resolve(wish, log.size_bytes, finished=log.finished, line_start=log.line_start)


def _headers(wanted: Extent) -> dict[str, str]:
    headers = {
        "Accept-Ranges": "bytes",
        OFFSET_HEADER: str(wanted.start),
        "X-Accel-Buffering": "no",  # nginx in front must not collect what is live
    }
    if wanted.length_bytes is not None:
        headers["Content-Length"] = str(wanted.length_bytes)
    if wanted.content_range is not None:
        headers["Content-Range"] = wanted.content_range
    return headers
