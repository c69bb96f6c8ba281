"""The signer's HTTP API: who may call, and what an answer looks like. What is signed is `certifier`'s matter.

``POST /v1/certify`` with the JSON object ::

    {"taskId", "runId", "nonce": 16 to 128 of A-Za-z0-9_-, never used before,
     "artifacts": [{"name", "sha256", "size_bytes", "content_type"?}],
     "forms"?: some of ["openpgp", "ed25519", "dsse"], all by default,
     "environment"?: {"imageHash"?, "imageArtifactHash"?}}

and ``Authorization: Hawk …`` made with the run's credentials for POST, host ``signer``, port 80, this path, with
payload hash and, for temporary credentials, ``ext``. Answers ::

    {"documents": [{"name", "content_type", "content_base64"}], "omitted": [{"name", "reason"}]}

``omitted`` names documents that cannot exist for this task (OpenPGP bears no line above 19 993 bytes) while others
can. ``GET /v1/keys`` answers with the keyholder's ``keys.json``. ``GET /healthz`` says ``ok`` when the keyholder
listens; ``GET /metrics`` is for Prometheus. On a Unix socket these two are for whoever can open it, over TLS also for
who has the signer's own certificate. All else is for ``allowed_users`` and ``allowed_clients``.

Anything else is ``{"error": {"code", "message", "retryable"}}``: 400 malformed or unsignable, 401 the Hawk header
proves nothing, 403 not allowed for this caller, run or manifest, 409 signed otherwise before or replayed; and, worth
repeating, 429 too many requests, 503 something that is needed does not answer.
"""

import logging
import sqlite3
import time
from collections.abc import Mapping

from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException

from taskward.signer.answers import (
    AnswerError,
    InvalidRequestError,
    RefusedError,
    TooManyError,
    TryLaterError,
)
from taskward.signer.certifier import Certifier
from taskward.signer.door import TlsDoor
from taskward.signer.jsontext import canonical
from taskward.signer.peer import allowed_peer, is_ourselves
from taskward.signer.rate import RateLimit
from taskward.signer.request import MAX_REQUEST_BYTES

_log = logging.getLogger(__name__)
_JSON = "application/json"
_INTERNAL = 500


def create_app(certifier: Certifier, rate: RateLimit) -> Flask:
    """``GET /v1/keys``, ``POST /v1/certify``, ``GET /healthz``, ``GET /metrics``; needs gunicorn's socket."""
    app = Flask("taskward.signer", static_folder=None)

    @app.post("/v1/certify")
    def certify() -> Response:
        started = time.monotonic()
        outcome = "unavailable"
        try:
            answer, stored = _certify(certifier, rate)
            outcome = "repeated" if stored else "certified"
            return Response(answer, mimetype=_JSON)
        except RefusedError:
            outcome = "refused"
            raise
        finally:
            certifier.metrics.answered(outcome, time.monotonic() - started)

    @app.get("/v1/keys")
    def keys() -> Response:
        _caller(certifier)
        return Response(canonical(certifier.public_keys.all()), mimetype=_JSON)

    @app.get("/healthz")
    def healthz() -> Response:
        _onlooker(certifier)
        if not certifier.keyholder.reachable():
            raise TryLaterError("keyholder-unavailable", "the keyholder does not listen at its socket")
        certifier.public_keys.all()
        return Response("ok\n", mimetype="text/plain")

    @app.get("/metrics")
    def metrics() -> Response:
        _onlooker(certifier)
        text = certifier.metrics.text(
            keyholder_up=certifier.keyholder.reachable(),
            openpgp_expires_s=certifier.public_keys.openpgp_expires_s(),
        )
        return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")

    _answer_errors(app, certifier)
    return app


def _answer_errors(app: Flask, certifier: Certifier) -> None:
    @app.errorhandler(AnswerError)
    def answer_error(error: AnswerError) -> Response:
        certifier.metrics.refused(error.code)
        return Response(canonical(error.body()), status=error.status, mimetype=_JSON)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        status = error.code or _INTERNAL
        body = {"code": "http", "message": error.description or "", "retryable": status >= _INTERNAL}
        return Response(canonical({"error": body}), status=status, mimetype=_JSON)


def _certify(certifier: Certifier, rate: RateLimit) -> tuple[bytes, bool]:
    caller: Mapping[str, int | str] = {"uid": -1}
    try:
        rate.take()
        caller = _caller(certifier)
        return certifier.certify(request.headers.get("Authorization"), _body(request))
    except RefusedError as error:
        _log.warning("refused: %s", error)
        certifier.audit.append("refused", **caller, code=error.code, message=error.message[:500], **error.about)
        raise
    except TooManyError:
        raise
    except TryLaterError as error:
        _log.warning("not now: %s", error)
        raise
    except (OSError, sqlite3.Error) as error:
        _log.exception("the signer cannot keep its records")
        raise TryLaterError("state-unavailable", f"the signer cannot keep its records: {error}") from error


def _caller(certifier: Certifier) -> Mapping[str, int | str]:
    return allowed_peer(request.environ["gunicorn.socket"], certifier.settings.door)


def _onlooker(certifier: Certifier) -> None:
    door = certifier.settings.door
    if isinstance(door, TlsDoor) and not is_ourselves(request.environ["gunicorn.socket"], door):
        _caller(certifier)


def _body(incoming: Request) -> bytes:
    length = incoming.content_length
    if length is None:
        raise InvalidRequestError("length-required", "the request needs a Content-Length")
    if length > MAX_REQUEST_BYTES:
        raise InvalidRequestError("too-large", f"the request is larger than {MAX_REQUEST_BYTES} bytes")
    body = incoming.stream.read(length)
    if len(body) != length:
        raise InvalidRequestError("cut-short", "the request ended before its Content-Length")
    return body
