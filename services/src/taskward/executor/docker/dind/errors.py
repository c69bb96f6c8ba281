"""The one error of this package: an answer that is not what the task wanted."""

from typing import Final

WRONG: Final = 400
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
TOO_LARGE: Final = 413
BROKEN: Final = 500


class Refusal(Exception):
    """Told to whoever has asked: `status` is HTTP's, `message` says what, and what to do instead."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def forbidden(what: str) -> Refusal:
    """Something that this worker's filter allows no task."""
    return Refusal(FORBIDDEN, f"{what} (this is a filtered Docker API, see docs/how-to/docker-tasks.md of taskward)")
