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
who has the signer's own certificate. All else, paths that do not exist included, is for ``allowed_users`` and
``allowed_clients``; each of them has a rate of its own.

Anything else is ``{"error": {"code", "message", "retryable"}}``: 400 malformed or unsignable, 401 the Hawk header
proves nothing, 403 not allowed for this caller, run or manifest, 409 signed otherwise before or replayed; and, worth
repeating, 429 too many requests, 503 something that is needed does not answer, or the OpenPGP key has expired.
"""

import logging
import sqlite3
import time
from typing import Final

from flask import Flask, Request, Response, g, request
from werkzeug.exceptions import HTTPException

from taskward.signer.admission import Admission
from taskward.signer.answers import (
    AnswerError,
    InvalidRequestError,
    RefusedError,
    TooManyError,
    TryLaterError,
)
from taskward.signer.certifier import Certifier
from taskward.signer.jsontext import canonical
from taskward.signer.request import MAX_REQUEST_BYTES

_log = logging.getLogger(__name__)
_JSON = "application/json"
_INTERNAL = 500
_FOR_ONLOOKERS: Final = ("/healthz", "/metrics")


def create_app(certifier: Certifier, admission: Admission) -> Flask:
    """``GET /v1/keys``, ``POST /v1/certify``, ``GET /healthz``, ``GET /metrics``; needs gunicorn's socket."""
    app = Flask("taskward.signer", static_folder=None)

    @app.before_request
    def admit() -> None:
        connection = request.environ["gunicorn.socket"]
        if request.path not in _FOR_ONLOOKERS or not admission.is_onlooker(connection):
            g.caller = admission.caller(connection)

    @app.post("/v1/certify")
    def certify() -> Response:
        started = time.monotonic()
        outcome = "unavailable"
        try:
            answer, stored = _certify(certifier, admission)
            outcome = "repeated" if stored else "certified"
            return Response(answer, mimetype=_JSON)
        except RefusedError:
            outcome = "refused"
            raise
        finally:
            certifier.metrics.answered(outcome, time.monotonic() - started)

    @app.get("/v1/keys")
    def keys() -> Response:
        return Response(canonical(certifier.public_keys.all()), mimetype=_JSON)

    @app.get("/healthz")
    def healthz() -> Response:
        certifier.public_keys.check_expiry(time.time())
        if not certifier.keyholder.reachable():
            raise TryLaterError("keyholder-unavailable", "the keyholder does not listen at its socket; see its log")
        certifier.public_keys.all()
        return Response("ok\n", mimetype="text/plain")

    @app.get("/metrics")
    def metrics() -> Response:
        expires_s = certifier.public_keys.openpgp_expires_s()
        text = certifier.metrics.text(
            keyholder_up=not expires_s <= time.time() and certifier.keyholder.reachable(),
            openpgp_expires_s=expires_s,
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


def _certify(certifier: Certifier, admission: Admission) -> tuple[bytes, bool]:
    try:
        admission.count(g.caller)
        return certifier.certify(request.headers.get("Authorization"), _body(request))
    except RefusedError as error:
        _log.warning("refused: %s", error)
        certifier.audit.append("refused", **g.caller, code=error.code, message=error.message[:500], **error.about)
        raise
    except TooManyError:
        raise
    except TryLaterError as error:
        _log.warning("not now: %s", error)
        raise
    except (OSError, sqlite3.Error) as error:
        _log.exception("the signer cannot keep its records")
        raise TryLaterError("state-unavailable", f"the signer cannot keep its records: {error}") from error


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
