"""The Flask application: puts the routes together and turns errors into answers.

Each service of the gateway is one blueprint. No answer and no log line repeats an address: a token stands in it.
"""

import logging
from typing import Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from taskward.gateway import display, livelog, shell, status
from taskward.gateway.errors import (
    LogRefused,
    RegistryUnreachable,
    RequestError,
    TooManyReaders,
    Unsatisfiable,
)
from taskward.gateway.follower import Follower
from taskward.gateway.metrics import Metrics
from taskward.gateway.settings import Settings
from taskward.gateway.shell_server import ShellServer
from taskward.gateway.tokens import Registry

RETRY_AFTER_S: Final = 5

_COMMON_HEADERS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": f"Content-Length, Content-Range, Accept-Ranges, {livelog.OFFSET_HEADER}",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_log = logging.getLogger(__name__)


def create_app(
    settings: Settings, registry: Registry, follower: Follower, shells: ShellServer, metrics: Metrics
) -> Flask:
    """The application, for which `follower` and `shells` run already.

    It needs gunicorn's socket in the environment, see `handover.py`.
    """
    app = Flask("taskward.gateway", static_folder=None)
    app.register_blueprint(livelog.blueprint(settings.logs_dir, registry, follower))
    app.register_blueprint(shell.blueprint(settings.base_url, registry, shells))
    app.register_blueprint(display.blueprint(settings.base_url, registry, shells))
    app.register_blueprint(status.blueprint(registry, follower, metrics))
    for kind, handler in (
        (RequestError, _request_error),
        (TooManyReaders, _busy),
        (RegistryUnreachable, _unreachable),
        (LogRefused, _refused),
        (HTTPException, _http_error),
        (Exception, _unexpected),
    ):
        app.register_error_handler(kind, handler)

    @app.after_request
    def finish(answer: Response) -> Response:
        """Headers of every answer that has not its own, and its count."""
        for name, value in _COMMON_HEADERS.items():
            answer.headers.setdefault(name, value)
        if request.endpoint == "livelog.read":
            metrics.answered(answer.status_code)
        return answer

    return app


def _answer(code: int, text: str, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(text, code, named, content_type="text/plain; charset=utf-8")


def _request_error(error: RequestError) -> Response:
    if isinstance(error, Unsatisfiable):
        return _answer(error.status, str(error), Content_Range=f"bytes */{error.size_bytes}")
    return _answer(error.status, str(error))


def _busy(error: TooManyReaders) -> Response:
    _log.warning("a reader was turned away: %s", error)
    return _answer(503, str(error), Retry_After=str(RETRY_AFTER_S))


def _unreachable(error: RegistryUnreachable) -> Response:
    _log.warning("a token could not be looked up: %s", error)
    return _answer(503, "Tokens cannot be looked up at the moment", Retry_After=str(RETRY_AFTER_S))


def _refused(error: LogRefused) -> Response:
    _log.error("a token was refused: %s", error)
    return _answer(500, "This cannot be served")


def _http_error(error: HTTPException) -> Response:
    response = _answer(error.code or 500, error.name)
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _unexpected(error: Exception) -> Response:
    _log.error("a request failed", exc_info=error)
    return _answer(500, "Internal error")
