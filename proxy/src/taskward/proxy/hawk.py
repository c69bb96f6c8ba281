"""Hawk signatures (https://github.com/mozilla/hawk), as Taskcluster checks them: header MAC, no payload hash.

The payload stays unsigned because Taskcluster never checks it and because hashing it would mean to hold the whole
body back. The costly parts (the key block of the HMAC, the ``ext``) are prepared once per credentials.
"""

import base64
import hmac
import itertools
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from taskward.proxy.routes import RootUrl

MAX_HEADER_CHARS: Final = 4096
"""Longer headers are refused by the hawk library of the services (lib/utils.js, maxMatchLength)."""

_COUNTER_CHARS: Final = 8
_SAFE_ID: Final = re.compile(r"[ !#-\[\]-~]+")


@dataclass(frozen=True)
class Signer:
    """Signs requests to one Taskcluster with one set of credentials; immutable, usable by many threads."""

    root: RootUrl
    client_id: str
    access_token: str = field(repr=False)
    ext: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _SAFE_ID.fullmatch(self.client_id):
            raise ValueError("the clientId has characters that cannot stand in an Authorization header")
        object.__setattr__(self, "_mac", hmac.new(self.access_token.encode(), digestmod="sha256"))
        object.__setattr__(self, "_suffix", f"\n{self.root.host}\n{self.root.port}\n\n{self.ext}\n")
        object.__setattr__(self, "_nonce_prefix", secrets.token_hex(6))
        object.__setattr__(self, "_nonces", itertools.count())
        object.__setattr__(self, "_ext_attribute", f', ext="{self.ext}"' if self.ext else "")

    _mac: Any = field(init=False, repr=False, compare=False)
    _suffix: str = field(init=False, repr=False, compare=False)
    _nonce_prefix: str = field(init=False, repr=False, compare=False)
    _nonces: "itertools.count[int]" = field(init=False, repr=False, compare=False)
    _ext_attribute: str = field(init=False, repr=False, compare=False)

    @property
    def header_chars(self) -> int:
        """How long every Authorization header of these credentials is."""
        return len(self.header("GET", "/", now_s=1_700_000_000)) + _COUNTER_CHARS

    def header(self, method: str, resource: str, now_s: int) -> str:
        """The value of the Authorization header for one request (`resource` = raw path and query).

        The method is signed in upper case, however it is sent: so it is checked (hawk, lib/crypto.js).
        Nonces need to be unique, not secret: a random prefix for these credentials, and a counter.
        """
        nonce = f"{self._nonce_prefix}{next(self._nonces):x}"
        mac = self._sign(f"hawk.1.header\n{now_s}\n{nonce}\n{method.upper()}\n{resource}")
        attributes = f'id="{self.client_id}", ts="{now_s}", nonce="{nonce}", mac="{mac}"'
        return f"Hawk {attributes}{self._ext_attribute}"

    def bewit(self, resource: str, expires_s: int) -> str:
        """`resource` with a bewit that lets anybody GET it until `expires_s` (seconds since the epoch)."""
        mac = self._sign(f"hawk.1.bewit\n{expires_s}\n\nGET\n{resource}")
        bewit = f"{self.client_id}\\{expires_s}\\{mac}\\{self.ext}"
        encoded = base64.urlsafe_b64encode(bewit.encode()).decode().rstrip("=")
        return f"{resource}{'&' if '?' in resource else '?'}bewit={encoded}"

    def _sign(self, first_lines: str) -> str:
        mac = self._mac.copy()
        mac.update(f"{first_lines}{self._suffix}".encode())
        return base64.b64encode(mac.digest()).decode()


def make_ext(certificate: object | None, scopes: Sequence[str]) -> str:
    """The ``ext`` of a signature: base64 of the JSON that carries certificate (if any) and restriction."""
    parts: dict[str, object] = {} if certificate is None else {"certificate": certificate}
    parts["authorizedScopes"] = list(scopes)
    return base64.b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode()


def without_covered(scopes: Sequence[str]) -> tuple[str, ...]:
    """The scopes that are not already given by another of them that ends in ``*``; sorted, each once."""
    stars = {scope[:-1] for scope in scopes if scope.endswith("*")}

    def covered(scope: str) -> bool:
        if not scope.endswith("*"):
            return any(scope.startswith(star) for star in stars)
        return any(scope[:-1].startswith(star) and scope[:-1] != star for star in stars)

    return tuple(sorted({scope for scope in scopes if not covered(scope)}))
