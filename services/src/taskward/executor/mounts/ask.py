"""Questions to http(s) servers: redirects, what an answer means, when to ask again. Runs as the task's user."""

import base64
import http.client
import ipaddress
import json
import random
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote, urljoin, urlsplit

from taskward.executor.mounts.errands import Refused

STALL_S: Final = 60.0
PROXY_NETWORK: Final = "127.77."
_ATTEMPTS: Final = 6
_FIRST_PAUSE_S: Final = 0.2
_MOST_REDIRECTS: Final = 10
_LARGEST_ANSWER: Final = 1 << 20
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PASSING: Final = frozenset({408, 425, 429})
_SAFE: Final = "%/:=&?~+!$,;'@()*[]"

T = TypeVar("T")


class Transient(Exception):
    """Another attempt may succeed."""


class Client:
    """Asks servers.

    Args:
        ca: PEM certificates to trust beside the system's; may be empty.
        stall_s: how long a server may send nothing.
    """

    def __init__(self, ca: str, stall_s: float = STALL_S) -> None:
        self._ca, self._stall_s = ca, stall_s

    def get(
        self, url: str, fields: dict[str, str], *, to_proxy: bool = False, follow: bool = True
    ) -> http.client.HTTPResponse:
        """The answer at the end of all redirects; only with `to_proxy` may the first request go to the task's proxy.

        Raises:
            Refused: it can never be had.
            Transient: it could not be had now.
        """
        for step in range(_MOST_REDIRECTS + 1):
            try:
                response = self._once(url, fields, to_proxy=to_proxy and step == 0)
            except (UnicodeError, http.client.InvalidURL, http.client.UnknownProtocol) as error:
                raise Refused(f"it leads to a URL that cannot be asked for: {error}") from error
            except (OSError, http.client.HTTPException) as error:
                raise Transient(reason(error)) from error
            location = response.getheader("Location")
            if not follow or response.status not in _REDIRECTS or not location:
                return response
            response.close()
            try:
                url = urljoin(url, location)
            except ValueError as error:
                raise Refused(f"it leads to a URL that is none: {error}") from error
        raise Refused(f"it redirects more than {_MOST_REDIRECTS} times")

    def _once(self, url: str, fields: dict[str, str], *, to_proxy: bool) -> http.client.HTTPResponse:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise Refused(f"it leads to a URL that is none: {error}") from error
        if parts.scheme not in ("http", "https") or not host:
            raise Refused(f"it leads to a URL that is neither http nor https: {url[:200]!r}")
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=self._stall_s, context=self._context())
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self._stall_s)
        connection.connect()
        if _plain(connection.sock.getpeername()[0]).startswith(PROXY_NETWORK) and not to_proxy:
            connection.close()
            raise Refused("it leads to the proxies of tasks, which give each task something else")
        target = quote(parts.path or "/", _SAFE) + (f"?{quote(parts.query, _SAFE)}" if parts.query else "")
        connection.request("GET", target, headers={"Accept-Encoding": "identity", **fields, **_login(parts)})
        return connection.getresponse()

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._ca:
            context.load_verify_locations(cadata=self._ca)
        return context


def _plain(host: str) -> str:
    """An address of IPv4 as such, in whatever form it was reached (``::ffff:127.0.0.1``)."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)


def attempts(action: Callable[[], T], deadline: float) -> T:
    """Calls `action` until it raises no `Transient`, some times, with growing pauses.

    Raises:
        Refused: it did to the end.
    """
    pause_s = _FIRST_PAUSE_S
    for left in reversed(range(_ATTEMPTS)):
        try:
            return action()
        except Transient as error:
            if not left or time.monotonic() + pause_s > deadline:
                raise Refused(f"{error} ({_ATTEMPTS - left} attempts)") from error
        time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - not a secret
        pause_s *= 2
    raise AssertionError


def get_json(client: Client, url: str, longest_s: float, *, to_proxy: bool) -> Any:
    """A small JSON document.

    Raises:
        Refused: it cannot be had, or it is none.
    """

    def ask() -> bytes:
        response = client.get(url, {}, to_proxy=to_proxy)
        try:
            check_status(response, says_why=True)
            return response.read(_LARGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise Transient(reason(error)) from error
        finally:
            response.close()

    try:
        return json.loads(attempts(ask, time.monotonic() + longest_s))
    except ValueError as error:
        raise Refused("the answer is no JSON") from error


def may_read(client: Client, url: str, longest_s: float) -> None:
    """Asks the proxy for something, without taking it.

    Raises:
        Refused: the task may not have it, or it is not there.
    """

    def ask() -> None:
        response = client.get(url, {}, to_proxy=True, follow=False)
        try:
            if response.status not in _REDIRECTS:
                check_status(response, says_why=True)
        finally:
            response.close()

    attempts(ask, time.monotonic() + longest_s)


def check_status(response: http.client.HTTPResponse, *, says_why: bool) -> None:
    """Passes 2xx.

    Raises:
        Refused: any other, with the service's own words if it is Taskcluster's.
        Transient: one that may be another next time.
    """
    if 200 <= response.status < 300:
        return
    text = f"the server answered with status {response.status} {response.reason}"
    if response.status >= 500 or response.status in _PASSING:
        raise Transient(text)
    if says_why:
        text += _words(response.read(_LARGEST_ANSWER))
    raise Refused(text)


def _words(body: bytes) -> str:
    """The first line of a message of Taskcluster."""
    try:
        data = json.loads(body)
        line = str(data["message"]).strip().split("\n")[0]
    except (ValueError, TypeError, KeyError):
        return ""
    return f": {line[:500]}" if line.isprintable() else ""


def _login(parts: Any) -> dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def reason(error: BaseException) -> str:
    """The system's words, without numbers."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
