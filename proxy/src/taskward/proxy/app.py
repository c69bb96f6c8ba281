"""The proxy as a WSGI application: proxied paths go straight to the forwarder, the few own ones through Flask."""

import json
import logging
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any, Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule

from taskward.proxy import headers, routes
from taskward.proxy.bewit import signed_url
from taskward.proxy.connection import TaskSocket
from taskward.proxy.credentials import Vault
from taskward.proxy.errors import ClientGone, RequestError
from taskward.proxy.forward import Forwarder, StartResponse
from taskward.proxy.gate import Gate
from taskward.proxy.metrics import Metrics
from taskward.proxy.named import control
from taskward.proxy.named.upstreams import Upstreams
from taskward.proxy.routes import RootUrl
from taskward.proxy.store import Store

log = logging.getLogger(__name__)

_VERSION: Final = version("taskward-proxy")
_VERSION_FIELDS: Final = (
    ("X-Taskcluster-Proxy-Version", f"taskward/{_VERSION}"),
    ("X-Taskcluster-Proxy-Revision", _VERSION),
)
_NOT_FORWARDED: Final = {
    "CONNECT": "it asks for a connection, not for an API; use a proxy of another kind.",
    "TRACE": "its answer would repeat the credentials that the proxy adds (RFC 9110, 9.3.8).",
}
"""All other methods go on, also those that nobody has thought of yet."""

_MAX_OWN_BODY_BYTES: Final = 16 * 1024
_RUN: Final = "taskward.run"


class ProxyApp:
    """What gunicorn calls for each request; `gate` is for the worker, which asks it before a request is read."""

    def __init__(
        self,
        root: RootUrl,
        store: Store,
        gate: Gate,
        vault: Vault,
        forwarder: Forwarder,
        metrics: Metrics,
        upstreams: Upstreams,
    ) -> None:
        self.gate = gate
        self.metrics = metrics
        self._root = root
        self._forwarder = forwarder
        self._own = _own_app(root, vault)
        self.upstreams = upstreams
        self._named = upstreams.dispatch
        self._status = _status_app(store, metrics)
        self._status.register_blueprint(control.blueprint(upstreams))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """WSGI: status for whoever came by the status socket, the proxy for tasks."""
        sock = environ["gunicorn.socket"]
        if not isinstance(sock, TaskSocket):
            return self._status(environ, start_response)

        def start(status: str, fields: headers.Fields) -> Callable[[bytes], object]:
            if sock.close_after:
                _announce_close(start_response)
            write: Callable[[bytes], object] = start_response(status, [*fields, *_VERSION_FIELDS])
            return write

        try:
            return self._serve(environ, sock, start, start_response)
        except RequestError as error:
            sock.close_after = sock.close_after or _has_body(environ)
            self.metrics.answered(error.status)
            return _answer(error, start)
        except ClientGone as gone:
            self.metrics.count("clients_gone")
            log.debug("run=%s: the task left its request: %s", sock.run_key, gone)
            sock.abort()
            return _nothing(start)

    def _serve(
        self, environ: dict[str, Any], sock: TaskSocket, start: StartResponse, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if why_not := _NOT_FORWARDED.get(method.upper()):
            raise RequestError(405, "MethodNotAllowed", f"{method} is not forwarded: {why_not}")
        if sock.upstreams is not None and (handler := self._named.find(environ, sock)) is not None:
            return handler.serve(environ, start)
        path = environ["RAW_URI"].partition("?")[0]
        if path in ("/bewit", "/credentials") or path.startswith(("/bewit/", "/credentials/")):
            environ[_RUN] = sock.run_key
            return self._own(environ, start_response)
        return self._forwarder.forward(environ, routes.resolve(environ["RAW_URI"], self._root), start)


def _has_body(environ: dict[str, Any]) -> bool:
    return "HTTP_TRANSFER_ENCODING" in environ or environ.get("CONTENT_LENGTH", "0") not in ("", "0")


def _announce_close(start_response: Callable[..., Any]) -> None:
    """Let gunicorn say ``Connection: close``: a part of the request may still be on the wire."""
    force_close = getattr(getattr(start_response, "__self__", None), "force_close", None)
    if force_close is not None:
        force_close()


def _answer(error: RequestError, start: StartResponse) -> list[bytes]:
    body = _json(error)
    fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start(f"{error.status} {error.code}", fields)
    return [body]


def _json(error: RequestError) -> bytes:
    return json.dumps({"code": error.code, "message": error.message}).encode()


def _nothing(start: StartResponse) -> list[bytes]:
    start("400 Gone", [("Content-Length", "0")])
    return []


def _own_app(root: RootUrl, vault: Vault) -> Flask:
    """The paths that the proxy answers itself. Their errors have the same form as those of proxied ones."""
    app = Flask("taskward.proxy", static_folder=None)
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = _MAX_OWN_BODY_BYTES
    for name in ("bewit", "credentials"):
        for path in (f"/{name}", f"/{name}/<path:_rest>"):
            app.url_map.add(Rule(path, endpoint=name))  # for any method

    @app.endpoint("bewit")
    def bewit(_rest: str = "") -> Response:
        """Sign a URL of the root host for a GET by anybody, for an hour or until the credentials end."""
        credentials = vault.get(request.environ[_RUN])
        signed = signed_url(request.get_data(as_text=True).strip(), root, credentials)
        response = Response(signed, 303, credentials.answer_headers, "text/plain")
        response.headers["Location"] = signed
        return response

    @app.endpoint("credentials")
    def credentials(_rest: str = "") -> Response:
        """Refuse what the original lets anybody do who reaches its port: replace the credentials."""
        message = "The worker refreshes the credentials itself; a task cannot set them."
        raise RequestError(403, "CredentialsAreManaged", message)

    @app.errorhandler(RequestError)
    def refused(error: RequestError) -> Response:
        return Response(_json(error), error.status, mimetype="application/json")

    @app.errorhandler(HTTPException)
    def not_served(error: HTTPException) -> Response:
        return refused(RequestError(error.code or 500, "InvalidRequest", error.description or error.name))

    @app.after_request
    def sign_off(response: Response) -> Response:
        response.headers.extend(_VERSION_FIELDS)
        return response

    return app


def _status_app(store: Store, metrics: Metrics) -> Flask:
    """What the status socket answers; no task can reach it."""
    app = Flask("taskward.proxy.status", static_folder=None)

    @app.get("/healthz")
    def healthz() -> tuple[dict[str, object], int]:
        """200 while requests can be served; `redis` says whether new runs would be seen."""
        return {"ok": True, "redis": "away" if store.away else "up"}, 200

    @app.get("/metrics")
    def metrics_page() -> Response:
        return Response(metrics.render(), mimetype="text/plain; version=0.0.4")

    return app
