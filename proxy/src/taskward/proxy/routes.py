"""From the URL that a task asked for to the URL at Taskcluster. Pure functions on the raw, undecoded text.

Three forms are understood, the last two for clients of older workers:

==================================  ==============================================
``/api/<service>/<version>/<path>``  ``<root URL>/api/<service>/<version>/<path>``
``/<service>/<version>/<path>``      the same
``/<root host>/api/…``               ``<root URL>/api/…``
==================================  ==============================================

The original proxy also forwards ``/<any.host>/<path>`` to ``https://<any.host>/<path>``, signed. That makes the
worker's host a stepping stone into networks that only it can reach, and hands every such server a proof of the
task's credentials to try elsewhere while it is fresh. So any host but the root URL's own is refused here.

Nothing is decoded or normalised (``//``, ``%2F``, ``%252F`` reach the service as the task wrote them: the
signature covers the raw text), but a path that some server could read as leading out of ``/api/`` is refused.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from taskward.proxy.errors import RequestError

_API: Final = re.compile(r"/api/([^/?]*)/([^/?]*)/(.*)")
_LEGACY: Final = re.compile(r"/([^/?]*)/([^/?]*)(/.*)?")
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_HOST: Final = re.compile(rf"{_NAME.pattern}(?:\.{_NAME.pattern})+")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class RootUrl:
    """Where Taskcluster is: `scheme` (http or https), `host` in lower case, `port`."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "RootUrl":
        """Read a root URL; ValueError tells what is wrong with it."""
        parts = urlsplit(text)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError(f"{text!r} is not an http:// or https:// URL")
        if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
            raise ValueError(f"{text!r} must be a bare root URL such as https://tc.example.com")
        return cls(parts.scheme, parts.hostname.lower(), parts.port or _DEFAULT_PORTS[parts.scheme])

    @property
    def authority(self) -> str:
        """What stands in the Host header: the port only where it is not the scheme's own."""
        return self.host if self.port == _DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def resolve(raw_url: str, root: RootUrl) -> str:
    """The request target at `root` (``/api/…``, query included) for what a task asked the proxy.

    `raw_url` is the request target as it came: a path, or the absolute form that clients send to an HTTP proxy.
    Raises RequestError: 404 for what is no Taskcluster API, 403 for another host than the root URL's.
    """
    path = origin_form(raw_url)
    if path.startswith("/api/"):
        target = path
    elif legacy := _LEGACY.fullmatch(path):
        target = _from_legacy(legacy[1], legacy[2], legacy[3] or "", root)
    else:
        raise _unknown(path)
    return _inside_api(target)


def resolve_url(url: str, root: RootUrl) -> str:
    """Like `resolve`, for a URL in the body of a bewit request: a full URL of the root host, or a path.

    A fragment is no part of a request. RequestError, besides: 400 for what is no URL.
    """
    if not _VISIBLE.fullmatch(url):
        raise RequestError(400, "InvalidUrl", "The body must be one URL without blanks, percent-encoded.")
    url = url.partition("#")[0]
    if "://" not in url:
        return resolve(url if url.startswith("/") else f"/{url}", root)
    try:
        if RootUrl.parse(url.split("?")[0].partition("/api/")[0]) != root:
            raise _foreign(urlsplit(url).hostname or url, root)
    except ValueError:
        raise RequestError(404, "InvalidUrl", f"{url[:200]} is not a Taskcluster API URL of {root}.") from None
    return resolve(url, root)


def origin_form(raw_url: str) -> str:
    """Path and query of a request target, whatever host its absolute form names; RequestError (404) without a path."""
    if "#" in raw_url or not _VISIBLE.fullmatch(raw_url):
        raise _unknown(raw_url)
    absolute = re.fullmatch(r"https?://[^/?]*(/.*)", raw_url)
    return absolute[1] if absolute else raw_url


def _from_legacy(first: str, second: str, rest: str, root: RootUrl) -> str:
    if first.lower() == root.host or _HOST.fullmatch(first):
        if first.lower() != root.host:
            raise _foreign(first, root)
        if second != "api":
            raise _unknown(f"/{second}{rest}")
        return f"/api{rest}"
    return f"/api/{first}/{second}{rest}"


def _inside_api(target: str) -> str:
    api = _API.fullmatch(target)
    if api is None or not _NAME.fullmatch(api[1]) or not _NAME.fullmatch(api[2]):
        raise _unknown(target)
    path = target.partition("?")[0]
    for _ in range(3):
        path = unquote(path, encoding="latin-1")
    depth = 0
    for segment in re.split(r"[/\\]", path.removeprefix("/api/")):
        depth += {"..": -1, ".": 0, "": 0}.get(segment.partition(";")[0], 1)
        if depth < 0:
            raise RequestError(404, "InvalidPath", "This path leads out of /api/, which the proxy does not serve.")
    return target


def _unknown(path: str) -> RequestError:
    return RequestError(
        404,
        "UnknownService",
        f"Unknown taskcluster service: {path[:200]} is not of the form /api/<service>/<version>/<path>.",
    )


def _foreign(host: str, root: RootUrl) -> RequestError:
    return RequestError(
        403,
        "ForeignHost",
        f"{host[:200]} is not {root.host}: this proxy signs requests for its own Taskcluster only. "
        "Call other servers directly, without the proxy.",
    )
