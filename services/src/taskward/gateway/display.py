"""``/shell/<secret>/…``: the X displays of a run in a container, and the pages that lead to them.

================================================  ==============================================================
address                                           what
================================================  ==============================================================
``/shell/<secret>/interactive``                   links to the pages of shell and displays
``/shell/<secret>/display``                       the page that shows a display
``/shell/<secret>/display.sock``                  ``[{"display": ":0.0", "width": 1024, "height": 768}]``
web socket ``…/display.sock?display=:0.0``        the display by the RFB protocol, in binary messages
``/shell/<secret>/sockets.json``                  these addresses for programs
================================================  ==============================================================

Of a query only `display` is looked at, and it must be the name of a display: what shows it has no other options.
"""

import json
import re
from functools import partial

from flask import Blueprint, Response, request
from websockets.datastructures import Headers
from websockets.http11 import Response as Answer

from taskward.core.shell import is_display
from taskward.gateway.errors import InvalidWish, ShellRefused, TaskOver, TooManySessions
from taskward.gateway.handover import Handover
from taskward.gateway.shell import upgrade
from taskward.gateway.shell_page import page
from taskward.gateway.shell_server import Call, ShellServer
from taskward.gateway.tokens import Registry

_LINE = re.compile(rb"^(:[0-9]{1,5}\.[0-9]{1,2})\t([0-9]{1,5})x([0-9]{1,5})$", re.MULTILINE)
_STATUS = {TaskOver: (410, "Gone"), TooManySessions: (503, "Service Unavailable")}
_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Cache-Control": "no-store",
    "Connection": "close",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Content-Type": "application/json",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def blueprint(base_url: str, registry: Registry, shells: ShellServer) -> Blueprint:
    """The routes; errors are answered by `app.py`."""
    routes = Blueprint("display", __name__)

    @routes.get("/shell/<secret>/<any(interactive, display):name>", provide_automatic_options=False)
    def show(secret: str, name: str) -> Response:
        """A page, to who knows the secret."""
        registry.run(secret)
        return page(name, base_url)

    @routes.get("/shell/<secret>/display.sock", provide_automatic_options=False)
    def displays(secret: str) -> Response:
        """Those that there are now; asking the container takes a while, so that no thread waits for it."""
        take = partial(shells.take_question, run=registry.run(secret), answer=answer)
        response = Response()
        response.response = Handover(request.environ["gunicorn.socket"], take, with_head=False)
        response.direct_passthrough = True
        return response

    @routes.route("/shell/<secret>/display.sock", websocket=True)
    def view(secret: str) -> Response:
        """One of them."""
        run, display = registry.run(secret), request.args.get("display", "")
        if not is_display(display):
            raise InvalidWish("display must be the name of one, as :0 or :0.0")
        return upgrade(Call(run, 1, display=display), shells)

    @routes.get("/shell/<secret>/sockets.json", provide_automatic_options=False)
    def sockets(secret: str) -> Response:
        """As taskcluster-worker wrote them into an artifact; `version` is the shell's."""
        registry.run(secret)
        shell = f"{base_url}/shell/{secret}"
        socket = shell.replace("http", "ws", 1)
        addresses = {
            "version": 2,
            "shellSocketUrl": socket,
            "displaysUrl": f"{shell}/display.sock",
            "displaySocketUrl": f"{socket}/display.sock",
        }
        return Response(json.dumps(addresses), content_type="application/json")

    return routes


def answer(found: bytes | ShellRefused) -> bytes:
    """A whole HTTP answer: the displays in what the container has `found`, or why nobody knows.

    Lines of another form are left out: they come from the container, which may say what it likes.
    """
    if isinstance(found, ShellRefused):
        status, reason = _STATUS.get(type(found), (500, "Internal Server Error"))
        body = json.dumps({"message": str(found)})
    else:
        status, reason = 200, "OK"
        displays = sorted({(name.decode(), int(width), int(height)) for name, width, height in _LINE.findall(found)})
        body = json.dumps([{"display": each[0], "width": each[1], "height": each[2]} for each in displays])
    headers = Headers({**_HEADERS, "Content-Length": str(len(body))})
    return Answer(status, reason, headers, body.encode()).serialize()
