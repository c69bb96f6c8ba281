"""The error tree of `gateway`, grouped by what the caller does next (configuration: `core.errors`).

::

    GatewayError
    ├── RequestError         answer the request with `status` and the text; the fault is the reader's
    │   ├── UnknownToken     401
    │   ├── InvalidWish      400
    │   └── Unsatisfiable    416
    ├── TooManyReaders       answer 503 with Retry-After
    ├── RegistryUnreachable  answer 503 with Retry-After; readers that follow already go on
    ├── LogRefused           what Redis names must not be served: answer 500, tell the operator why
    ├── ReaderLost           this one reader cannot be served any longer; close its connection, go on with the others
    └── ShellRefused         close the web socket with `code` and the text
        ├── ShellUnavailable 1011
        ├── TooManySessions  1013
        ├── SessionOver      4404, there is nothing to resume
        └── TaskOver         4410, nor will there be a shell again
"""

from taskward.core.shell import TASK_ENDED


class GatewayError(Exception):
    """Root of everything `gateway` raises on purpose."""


class RequestError(GatewayError):
    """The request cannot be fulfilled and never will be; `status` is the answer's."""

    status = 400


class UnknownToken(RequestError):
    """No log has this token."""

    status = 401

    def __init__(self) -> None:
        super().__init__("Access denied")


class InvalidWish(RequestError):
    """A parameter of the query makes no sense."""


class Unsatisfiable(RequestError):
    """Nothing of the wanted range exists in a log of `size_bytes`."""

    status = 416

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the log has {size_bytes} bytes, none of them in this range")
        self.size_bytes = size_bytes


class TooManyReaders(GatewayError):
    """As many readers follow as the settings allow."""


class RegistryUnreachable(GatewayError):
    """Redis did not answer."""


class LogRefused(GatewayError):
    """An entry of Redis, or a file it names, is not a log that may be served; the text says why."""


class ReaderLost(GatewayError):
    """A reader went away, or what it was promised has vanished; `reason` is a short word for the metrics."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ShellRefused(GatewayError):
    """There is no shell for this web socket; `code` is what it is closed with (RFC 6455 §7.4)."""

    code = 1011


class ShellUnavailable(ShellRefused):
    """The executor could not start one."""


class TooManySessions(ShellRefused):
    """The task has as many as it may have."""

    code = 1013


class SessionOver(ShellRefused):
    """The session to be resumed has ended, or was not resumed in time."""

    code = 4404

    def __init__(self) -> None:
        super().__init__("this session is over")


class TaskOver(ShellRefused):
    """Nobody offers shells for this run any more."""

    code = 4410

    def __init__(self) -> None:
        super().__init__(TASK_ENDED)
