"""What the executor asks of the proxy, at the status socket: is an upstream ready, and that a run is over."""

import os
import socket
import struct
from typing import Final

from flask import Blueprint, Response, abort, jsonify, request

from taskward.proxy.devices.cloud import CloudError
from taskward.proxy.errors import StoreUnavailable
from taskward.proxy.named.upstreams import Upstreams

_CREDENTIALS: Final = struct.Struct("iII")  # pid, uid, gid of the peer


def blueprint(upstreams: Upstreams) -> Blueprint:
    """The routes; for root and the proxy's own user only, others may merely look at the status."""
    control = Blueprint("control", __name__)

    @control.before_request
    def admit() -> None:
        if _uid(request.environ["gunicorn.socket"]) not in (0, os.geteuid()):
            abort(403)

    @control.post("/upstreams/<name>/ready")
    def ready(name: str) -> Response:
        """``{"problem": ""}`` when the upstream can serve, else why it cannot; 404 when there is none of that name."""
        try:
            return jsonify(problem=upstreams.why_not_ready(name))
        except KeyError:
            abort(404)

    @control.post("/runs/<task_id>/<run_id>/end")
    def end(task_id: str, run_id: str) -> tuple[Response, int]:
        """200 when the run has nothing (any more), 503 with ``{"problem": …}`` when that is to be asked again."""
        try:
            return jsonify(released=upstreams.end(f"{task_id}/{run_id}")), 200
        except (CloudError, StoreUnavailable) as error:
            return jsonify(problem=str(error)), 503

    return control


def _uid(sock: socket.socket) -> int:
    told = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(told)[1])
