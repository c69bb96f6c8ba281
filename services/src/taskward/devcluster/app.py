"""The Flask application over a cluster."""

import logging
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from taskward.devcluster.clock import write_instant
from taskward.devcluster.cluster import Cluster
from taskward.devcluster.errors import ApiError, InternalServerError, InvalidRequestArguments
from taskward.devcluster.names import camel_case
from taskward.devcluster.routes import (
    artifacts,
    auth,
    groups,
    index,
    object,
    pages,
    pool_stats,
    purge_cache,
    queue,
    queues,
    references,
    s3,
    secrets,
    work,
    worker_manager,
    workers,
)
from taskward.devcluster.routes.queries import check_query
from taskward.devcluster.routes.request import AnyText, Pair, check_slashes, cluster, reply, sent

_STARTED_S = time.monotonic()
#: As the real services spell it (Dockerflow's version object).
_VERSION = {"version": "devcluster", "commit": "", "source": "", "build": ""}

_log = logging.getLogger(__name__)

SERVICES = ("auth", "index", "object", "purge-cache", "queue", "secrets", "worker-manager")

#: Wraps the application; where a mode that misbehaves on purpose is put in front.
Middleware = Callable[[Callable[..., Any]], Callable[..., Any]]

_MODULES = (
    artifacts, auth, groups, index, object, pages, pool_stats, purge_cache, queue, queues, references, s3, secrets,
    work, worker_manager, workers,
)  # fmt: skip


def create_app(served: Cluster, middleware: Middleware | None = None) -> Flask:
    """Return the WSGI application for a cluster."""
    app = Flask(__name__, static_folder=None)
    app.extensions["cluster"] = served
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = True
    app.url_map.converters |= {"any_text": AnyText, "pair": Pair}
    for module in _MODULES:
        app.register_blueprint(module.routes)
    for service in SERVICES:
        _add_common(app, service)
    app.add_url_rule("/__heartbeat__", "heartbeat", lambda: reply({}))
    app.before_request(check_query)
    app.register_error_handler(ApiError, _refuse)
    app.register_error_handler(HTTPException, _refuse_http)
    app.register_error_handler(Exception, _fail)
    app.after_request(_open_to_browsers)
    if middleware is not None:
        app.wsgi_app = middleware(app.wsgi_app)  # type: ignore[method-assign]  # Flask's documented seam
    return app


def _add_common(app: Flask, service: str) -> None:
    prefix = f"/api/{service}/v1"
    app.add_url_rule(f"{prefix}/ping", f"{service}.ping", _ping, methods=["GET"])
    app.add_url_rule(f"{prefix}/__heartbeat__", f"{service}.heartbeat", lambda: reply({}))
    app.add_url_rule(f"{prefix}/__lbheartbeat__", f"{service}.lbheartbeat", lambda: reply({}))
    app.add_url_rule(f"{prefix}/__version__", f"{service}.version", lambda: reply(_VERSION))


def _ping() -> Response:
    return reply({"alive": True, "uptime": round(time.monotonic() - _STARTED_S, 3)})


def _refuse(error: ApiError) -> Response:
    endpoint = (request.endpoint or "unknown").rpartition(".")[2]
    method = camel_case(endpoint)
    now = write_instant(cluster().clock.now())
    message = (
        f"{error}\n\n---\n\n* method:     {method}\n* errorCode:  {error.code}\n"
        f"* statusCode: {error.status}\n* time:       {now}"
    )
    params = {camel_case(name): str(value) for name, value in (request.view_args or {}).items()}
    info = {"method": method, "params": params, "payload": sent(), "time": now}
    return reply({"code": error.code, "message": message, "requestInfo": info}, error.status)


def _refuse_http(error: HTTPException) -> Response:
    """A path that no call has, or not with this method: both are unknown routes to the real services."""
    try:
        check_slashes()
    except InvalidRequestArguments as fault:
        return _refuse(fault)
    status = 404 if error.code == 405 else error.code or 500
    message = f"{error.name}: {request.method} {request.path}; this cluster has no such call"
    return reply({"code": "ResourceNotFound" if status == 404 else "InputError", "message": message}, status)


def _fail(error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.path, exc_info=error)
    return _refuse(InternalServerError("Internal Server Error"))


def _open_to_browsers(answer: Response) -> Response:
    answer.headers["Access-Control-Allow-Origin"] = "*"
    if request.method == "OPTIONS":
        answer.headers["Access-Control-Allow-Headers"] = "X-Requested-With,Content-Type,Authorization,Accept,Origin"
        answer.headers["Access-Control-Allow-Methods"] = "GET,HEAD,PUT,POST,DELETE,OPTIONS"
    return answer
