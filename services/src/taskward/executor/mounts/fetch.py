"""Downloads: any http(s) URL into an open file, whatever the server does. Runs with the rights of the task's user.

A connection that breaks is taken up where it broke (Range with If-Range) when the server can do that, else from the
start. Content-Encoding gzip is undone, as generic-worker's HTTP library does; hash and size are those of the result.
"""

import base64
import hashlib
import http.client
import json
import os
import random
import ssl
import time
import zlib
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, urljoin, urlsplit

from taskward.executor.mounts.errands import Refused

PROXY_NETWORK: Final = "127.77."
_ATTEMPTS: Final = 6
_FIRST_PAUSE_S: Final = 0.2
_MOST_REDIRECTS: Final = 10
_STALL_S: Final = 60.0
_PIECE_BYTES: Final = 1 << 20
_LARGEST_ANSWER: Final = 1 << 20
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PASSING: Final = frozenset({408, 425, 429})
_SAFE: Final = "%/:=&?~+!$,;'@()*[]"


@dataclass(frozen=True)
class Limits:
    """What a download may cost.

    Attributes:
        most_bytes: its size; 0 is no limit.
        longest_s: from the first attempt to the last byte.
        stall_s: how long a server may send nothing.
    """

    most_bytes: int
    longest_s: float
    stall_s: float = _STALL_S


class _Transient(Exception):
    """Another attempt may succeed."""


class Client:
    """Asks servers.

    Args:
        ca: PEM certificates to trust beside the system's; may be empty.
        stall_s: how long a server may send nothing.
    """

    def __init__(self, ca: str, stall_s: float = _STALL_S) -> None:
        self._ca, self._stall_s = ca, stall_s

    def get(
        self, url: str, fields: dict[str, str], *, to_proxy: bool = False, follow: bool = True
    ) -> http.client.HTTPResponse:
        """The answer at the end of all redirects; only with `to_proxy` may the first request go to the task's proxy.

        Raises:
            Refused: it can never be had.
            _Transient: it could not be had now.
        """
        for step in range(_MOST_REDIRECTS + 1):
            try:
                response = self._once(url, fields, to_proxy=to_proxy and step == 0)
            except (UnicodeError, http.client.InvalidURL, http.client.UnknownProtocol) as error:
                raise Refused(f"it leads to a URL that cannot be asked for: {error}") from error
            except (OSError, http.client.HTTPException) as error:
                raise _Transient(_reason(error)) from error
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
        if str(connection.sock.getpeername()[0]).startswith(PROXY_NETWORK) and not to_proxy:
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


class Download:
    """One URL into one file.

    Args:
        client: how to ask.
        url: what.
        to_proxy: whether it is a call of Taskcluster through the task's own proxy.
        file: descriptor of an empty file.
        limits: what it may cost.
    """

    def __init__(self, client: Client, url: str, to_proxy: bool, file: int, limits: Limits) -> None:
        self._client, self._url, self._to_proxy, self._file, self._limits = client, url, to_proxy, file, limits
        self._deadline = time.monotonic() + limits.longest_s
        self._start_over()

    def run(self) -> dict[str, Any]:
        """``size`` and ``sha256`` of what is in the file now.

        Raises:
            Refused: it cannot be had.
            OSError: it cannot be written.
        """
        attempts(self._attempt, self._deadline)
        return {"size": self._size, "sha256": self._hash.hexdigest()}

    def _start_over(self) -> None:
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self._hash, self._size, self._received = hashlib.sha256(), 0, 0
        self._validator = ""
        self._decoder: Any = None

    def _attempt(self) -> None:
        fields = {"Range": f"bytes={self._received}-", "If-Range": self._validator} if self._validator else {}
        response = self._client.get(self._url, fields, to_proxy=self._to_proxy)
        try:
            self._begin(response)
            self._receive(response)
        except (OSError, http.client.HTTPException) as error:
            raise _Transient(_reason(error)) from error
        except zlib.error as error:
            raise Refused(f"it says that it is compressed with gzip, but: {error}") from error
        finally:
            response.close()

    def _begin(self, response: http.client.HTTPResponse) -> None:
        if response.status == 416 and self._received:
            self._start_over()
            raise _Transient("the server cannot continue where it stopped")
        check_status(response, says_why=self._to_proxy)
        start = response.getheader("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if response.status == 206 and self._received and start == str(self._received):
            return
        self._start_over()
        if response.status != 200:
            raise _Transient(f"the server answered with status {response.status}")
        etag = response.getheader("ETag", "")
        self._validator = "" if etag.startswith("W/") else etag or response.getheader("Last-Modified", "")
        if response.getheader("Content-Encoding", "").lower() in ("gzip", "x-gzip"):
            self._decoder = zlib.decompressobj(31)

    def _receive(self, response: http.client.HTTPResponse) -> None:
        while piece := response.read1(_PIECE_BYTES):
            self._received += len(piece)
            self._store(piece)
            if time.monotonic() > self._deadline:
                raise Refused(f"it takes longer than {self._limits.longest_s:.0f} s")
        if response.length or (self._decoder is not None and not self._decoder.eof):
            raise _Transient("the connection was closed before the end")

    def _store(self, piece: bytes) -> None:
        if self._decoder is None:
            self._write(piece)
            return
        while piece:
            if self._decoder.eof:  # another gzip member follows
                self._decoder = zlib.decompressobj(31)
            self._write(self._decoder.decompress(piece, _PIECE_BYTES))
            piece = self._decoder.unconsumed_tail or self._decoder.unused_data

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        if self._limits.most_bytes and self._size > self._limits.most_bytes:
            raise Refused(f"it is larger than {self._limits.most_bytes} bytes, the most that this worker downloads")
        self._hash.update(data)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            raise Refused(f"it cannot be written: {error.strerror}") from error


def attempts(action: Any, deadline: float) -> Any:
    """Calls `action` until it raises no `_Transient`, some times, with growing pauses.

    Raises:
        Refused: it did to the end.
    """
    pause_s = _FIRST_PAUSE_S
    for left in reversed(range(_ATTEMPTS)):
        try:
            return action()
        except _Transient as error:
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
            raise _Transient(_reason(error)) from error
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
        _Transient: one that may be another next time.
    """
    if 200 <= response.status < 300:
        return
    text = f"the server answered with status {response.status} {response.reason}"
    if response.status >= 500 or response.status in _PASSING:
        raise _Transient(text)
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


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
