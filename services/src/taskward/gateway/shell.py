"""``/shell/<secret>``: interactive shells by web socket, and the page that talks to them.

================================================  ==============================================================
address                                           what
================================================  ==============================================================
``/shell/<secret>/``                              the page
web socket ``/shell/<secret>``                    protocol v2; with ``?session=new`` the session outlives a
                                                  connection that was cut off, ``?session=<name>&offset=<bytes>``
                                                  goes on with it
web socket ``/shell/<secret>/shell.sock``         protocol v1; ``?tty=true&command=<argv 0>&command=<argv 1>…``
``/assets/<file>``                                what the pages load
================================================  ==============================================================

Web sockets of any origin are welcome: what lets a page in is the secret in the address. There are no cookies or other
things that a browser would add by itself, so a foreign page gains nothing from a visitor's browser, and the page may be
another user interface's.
"""

from functools import partial
from typing import Final

from flask import Blueprint, Response, abort, request
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol

from taskward.core.ids import RunId
from taskward.gateway.errors import InvalidWish
from taskward.gateway.handover import Handover
from taskward.gateway.shell_page import ASSETS, page
from taskward.gateway.shell_server import Call, ShellServer
from taskward.gateway.tokens import Registry

NEW_SESSION: Final = "new"
_LARGEST_OFFSET: Final = 2**53 - 1
_LONGEST_SESSION: Final = 64
_MOST_ARGUMENTS: Final = 64


def blueprint(base_url: str, registry: Registry, shells: ShellServer) -> Blueprint:
    """The routes; errors are answered by `app.py`."""
    routes = Blueprint("shell", __name__)

    @routes.get("/shell/<secret>/", provide_automatic_options=False)
    def show(secret: str) -> Response:
        """The page, to who knows the secret."""
        registry.run(secret)
        return page("shell", base_url)

    @routes.get("/assets/<path:name>", provide_automatic_options=False)
    def asset(name: str) -> Response:
        """A script or a style; no secret is needed for these."""
        return ASSETS[name].answer() if name in ASSETS else abort(404)

    @routes.route("/shell/<secret>", websocket=True)
    def terminal(secret: str) -> Response:
        """Protocol v2."""
        return upgrade(_terminal_call(registry.run(secret)), shells)

    @routes.route("/shell/<secret>/shell.sock", websocket=True)
    def streams(secret: str) -> Response:
        """Protocol v1."""
        argv = tuple(request.args.getlist("command")[:_MOST_ARGUMENTS])
        call = Call(registry.run(secret), 1, argv=argv, terminal=request.args.get("tty") == "true")
        return upgrade(call, shells)

    return routes


def _terminal_call(run: RunId) -> Call:
    session, offset = request.args.get("session", ""), request.args.get("offset", "0")
    if len(session) > _LONGEST_SESSION or not (offset.isascii() and offset.isdigit() and len(offset) < 17):
        raise InvalidWish("session and offset must be what the gateway has told before")
    if session in ("", NEW_SESSION):
        return Call(run, 2, keeps=bool(session))
    return Call(run, 2, session, min(int(offset), _LARGEST_OFFSET), keeps=True)


def upgrade(call: Call, shells: ShellServer) -> Response:
    """Makes this request a web socket of `shells`.

    Checks the handshake here, on a thread of gunicorn; its answer and all that follows is the shells' thread's.
    """
    headers = Headers(request.headers.items())
    version = request.environ["SERVER_PROTOCOL"]
    answer = ServerProtocol().accept(Request(request.path, headers, request.method, version))
    if answer.status_code != 101:
        kept = {name: value for name, value in answer.headers.raw_items() if name in ("Upgrade", "Allow")}
        return Response(bytes(answer.body or b""), answer.status_code, kept, content_type="text/plain; charset=utf-8")
    take = partial(shells.take, answer=answer, call=call)
    response = Response()
    response.response = Handover(request.environ["gunicorn.socket"], take, with_head=False)
    response.direct_passthrough = True
    return response
