"""Everything that can go wrong in the proxy, grouped by what the caller does next."""


class ProxyError(Exception):
    """The root of the tree; never raised itself."""


class StartError(ProxyError):
    """The proxy cannot start as it is configured: print the message and exit."""


class Refused(ProxyError):
    """The peer may not use the proxy: answer 403 without any detail and close; the reason is for our log."""


class StoreUnavailable(ProxyError):
    """Redis gives no answer: go on with what is in memory, or answer 503."""


class ClientGone(ProxyError):
    """The task closed the connection or stalled: stop, nobody listens."""


class RequestError(ProxyError):
    """The request cannot be served: answer `status` with ``{"code": …, "message": …}``."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class UpstreamError(ProxyError):
    """Taskcluster gave no (valid) answer: try again where that is safe, else answer 502.

    `sent` tells whether Taskcluster may have seen any of the request; `stale` that a reused connection died
    before the first byte of an answer, which is what a server does that closes idle connections.
    """

    def __init__(self, message: str, *, sent: bool = True, stale: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.stale = stale


class UpstreamTimeout(UpstreamError):
    """Taskcluster was silent for too long: answer 504, do not try again."""
