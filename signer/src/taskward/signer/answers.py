"""How the signer says no, grouped by what the caller does next."""

from http import HTTPStatus
from typing import Any


class AnswerError(Exception):
    """A request that gets no documents; `body` is the JSON of the HTTP answer.

    What of `message` is not printable is escaped: it may quote the caller, and is for terminals, too.
    """

    status: int
    retryable: bool

    def __init__(self, code: str, message: str) -> None:
        message = "".join(map(_printable, message))
        super().__init__(message)
        self.about: dict[str, str | int] = {}  # the run, once it is known; for the audit log
        self.code = code
        self.message = message

    def body(self) -> dict[str, Any]:
        """``{"error": {"code", "message", "retryable"}}``."""
        return {"error": {"code": self.code, "message": self.message, "retryable": self.retryable}}


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


class RefusedError(AnswerError):
    """The same request will never be answered otherwise: do not repeat it."""

    retryable = False


class InvalidRequestError(RefusedError):
    """400: the request is not well-formed, or asks for what cannot be made."""

    status = HTTPStatus.BAD_REQUEST


class UnauthenticatedError(RefusedError):
    """401: the Hawk header proves nothing."""

    status = HTTPStatus.UNAUTHORIZED


class ForbiddenError(RefusedError):
    """403: the caller is known, and this run is not one the signer signs for it."""

    status = HTTPStatus.FORBIDDEN


class ConflictError(RefusedError):
    """409: it was signed already with other content, or this very request was seen before."""

    status = HTTPStatus.CONFLICT


class TryLaterError(AnswerError):
    """503: something the signer needs did not answer; repeat with a new nonce after a pause."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retryable = True


class TooManyError(TryLaterError):
    """429: more requests per minute than configured; repeat after a pause."""

    status = HTTPStatus.TOO_MANY_REQUESTS
