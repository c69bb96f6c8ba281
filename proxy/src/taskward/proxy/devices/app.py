"""What ``http://testdroid`` answers: the routes of testdroid-proxy."""

import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from taskward.proxy.connection import TaskSocket
from taskward.proxy.devices.cloud import CloudError, DeviceCloud
from taskward.proxy.devices.reservation import Reservation
from taskward.proxy.devices.sessions import Sessions
from taskward.proxy.devices.wish import Wish
from taskward.proxy.errors import ClientGone, RequestError, StoreUnavailable
from taskward.proxy.forward import StartResponse
from taskward.proxy.named.settings import DeviceCloudSettings

_MAX_BODY_BYTES: Final = 64 * 1024
_SOCKET: Final = "gunicorn.socket"


class DeviceApp:
    """A `dispatch.Handler`: one cloud, for all runs that may use it."""

    def __init__(
        self,
        name: str,
        settings: DeviceCloudSettings,
        cloud: DeviceCloud,
        sessions: Sessions,
        signed: Callable[[str, str], str],
    ) -> None:
        self._name = name
        self._settings = settings
        self._cloud = cloud
        self._sessions = sessions
        self._signed = signed
        self._reserving: set[str] = set()
        self._lock = threading.Lock()
        self._app = self._routes()

    def serve(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        """See `dispatch.Handler`."""
        return self._app(environ, lambda status, fields, _exc_info=None: start(status, fields))

    def _routes(self) -> Flask:
        app = Flask(__name__, static_folder=None)
        app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY_BYTES
        app.config["PROPAGATE_EXCEPTIONS"] = True  # ClientGone is for whoever called us
        app.add_url_rule("/", "index", lambda: Response("Server running", mimetype="text/plain"))
        app.add_url_rule("/devices", "devices", self._devices)
        app.add_url_rule("/device", "reserve", self._reserve, methods=["POST"])
        app.add_url_rule("/device/release", "release", self._release, methods=["POST"])
        app.add_url_rule("/device/properties", "properties", self._properties)
        app.register_error_handler(CloudError, lambda error: _error(500, str(error)))
        app.register_error_handler(StoreUnavailable, lambda _: _error(503, "the worker cannot be reached; try again"))
        app.register_error_handler(RequestError, lambda error: _error(error.status, error.message))
        app.register_error_handler(HTTPException, lambda error: _error(error.code or 500, str(error.description)))
        return app

    def _devices(self) -> Response:
        found = [{"id": each.id, "displayName": each.name, "free": each.free} for each in self._cloud.devices()]
        return _json(found)

    def _reserve(self) -> Response:
        sock: TaskSocket = request.environ[_SOCKET]
        run_key = str(sock.run_key)
        wish = Wish.parse(request.get_data())
        with self._lock:
            if run_key in self._reserving or self._sessions.of(run_key) is not None:
                return _error(409, "This task has a device, or is getting one; release it first.")
            self._reserving.add(run_key)
        try:
            return _json(self._get(sock, run_key, wish))
        finally:
            with self._lock:
                self._reserving.discard(run_key)

    def _get(self, sock: TaskSocket, run_key: str, wish: Wish) -> dict[str, Any]:
        pause = _patience(sock, self._settings.reserve_timeout_s)
        reservation = Reservation(self._cloud, self._settings, pause, lambda url: self._signed(run_key, url))
        session, device = reservation.open(wish)
        held = self._sessions.keep(run_key, self._name, session, device.id)
        try:
            proxies = reservation.ports(held.session)
        except BaseException:
            self._sessions.release(run_key)
            raise
        described = {"id": device.id, "displayName": device.name}
        return {"session": session, "device": described, "proxies": proxies, "proxyHost": self._settings.proxy_host}

    def _release(self) -> Response:
        if not self._sessions.release(str(request.environ[_SOCKET].run_key)):
            return Response("No device session to release", 400, mimetype="text/plain")
        return Response("Device released", mimetype="text/plain")

    def _properties(self) -> Response:
        held = self._sessions.of(str(request.environ[_SOCKET].run_key))
        if held is None:
            return _error(400, "No device session")
        return _json(self._cloud.properties(held.device))


def _patience(sock: TaskSocket, total_s: float) -> Callable[[float], None]:
    end_s = time.monotonic() + total_s

    def pause(seconds: float) -> None:
        if time.monotonic() + seconds > end_s:
            raise CloudError(f"no device within {total_s:g} s")
        if sock.leaves_within(seconds):
            raise ClientGone("the task does not wait for its device any more")

    return pause


def _json(content: object) -> Response:
    return Response(json.dumps(content), mimetype="application/json")


def _error(status: int, text: str) -> Response:
    return Response(json.dumps({"error": text}), status, mimetype="application/json")
