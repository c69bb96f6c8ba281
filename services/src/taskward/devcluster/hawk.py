"""Hawk: how requests and URLs are signed (https://github.com/mozilla/hawk, version 9).

As in Taskcluster, nonces are not remembered. The hash of the body is compared by whoever has the body
(`matches`): the services do so, auth's own check of a signature does not.
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime

from taskward.devcluster.errors import AuthenticationFailed

#: The real services refuse longer headers and resources too.
LONGEST_HEADER = 4096
#: How far the signer's clock may be off.
SKEW_S = 15 * 60

_ATTRIBUTE = re.compile(r'(\w+)="([^"\\]*)"\s*(?:,\s*|$)')
_KNOWN = frozenset(["id", "ts", "nonce", "hash", "ext", "mac", "app", "dlg"])
_VALUE = re.compile(r"[ \w!#$%&'()*+,\-./:;<=>?@\[\]^`{|}~]+", re.ASCII)
_BEWIT = re.compile(r"(?P<before>/.*?)(?P<mark>[?&])bewit=(?P<bewit>[^&]*)(?:&(?P<after>.+))?")


@dataclass(frozen=True)
class SignedRequest:
    """What a signature covers: method, path with query as sent, host and port of the Host header."""

    method: str
    resource: str
    host: str
    port: int


@dataclass(frozen=True)
class Signature:
    """A claim to be ``client_id``, not verified yet.

    ``ext`` is what the client added to it (a certificate, restricted scopes), or empty; ``payload_hash`` is what
    it says of the body, or empty.
    """

    client_id: str
    ext: str
    mac: str
    text: str
    payload_hash: str = ""

    def verify(self, access_token: str) -> None:
        """Raise ``AuthenticationFailed`` unless this was made with the token."""
        digest = hmac.digest(access_token.encode(), self.text.encode(), "sha256")
        if not hmac.compare_digest(base64.b64encode(digest), self.mac.encode()):
            raise AuthenticationFailed("Unauthorized: Bad mac")


def read_header(authorization: str, request: SignedRequest, now: datetime) -> Signature:
    """Read an ``Authorization`` header.

    Raises ``AuthenticationFailed`` when it is not a Hawk header or is too old or too new.
    """
    attributes = _parse(authorization)
    _check_skew(attributes["ts"], now)
    return Signature(
        attributes["id"],
        attributes.get("ext", ""),
        attributes["mac"],
        _text("header", request, attributes),
        attributes.get("hash", ""),
    )


def has_bewit(request: SignedRequest) -> bool:
    """Tell whether a URL is signed."""
    return _BEWIT.fullmatch(request.resource) is not None


def read_bewit(request: SignedRequest, now: datetime) -> Signature | None:
    """Read the signature in a URL; None when the URL has none.

    Raises ``AuthenticationFailed`` when it is malformed or has expired, or is used with another
    method than GET and HEAD.
    """
    match = _BEWIT.fullmatch(request.resource)
    if match is None:
        return None
    if len(request.resource) > LONGEST_HEADER:
        raise AuthenticationFailed("Bad Request: Resource path exceeds max length")
    if request.method not in ("GET", "HEAD"):
        raise AuthenticationFailed("Unauthorized: Invalid method")
    client_id, expiry, mac, ext = _split_bewit(match["bewit"])
    if not expiry.isdigit() or int(expiry) <= now.timestamp():
        raise AuthenticationFailed("Unauthorized: Access expired")
    rest = f"{match['mark']}{match['after']}" if match["after"] else ""
    bare = SignedRequest("GET", match["before"] + rest, request.host, request.port)
    text = _text("bewit", bare, {"ts": expiry, "nonce": "", "ext": ext})
    return Signature(client_id, ext, mac, text)


def matches(payload_hash: str, content: bytes, content_type: str) -> bool:
    """Tell whether a signed hash is that of a body."""
    kind = content_type.partition(";")[0].strip().lower().encode()
    digest = hashlib.sha256(b"hawk.1.payload\n" + kind + b"\n" + content + b"\n").digest()
    return hmac.compare_digest(base64.b64encode(digest), payload_hash.encode())


def _parse(authorization: str) -> dict[str, str]:
    if len(authorization) > LONGEST_HEADER:
        raise AuthenticationFailed("Bad Request: Header length too long")
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "hawk":
        raise AuthenticationFailed("Unauthorized: Hawk")
    attributes: dict[str, str] = {}
    end = 0
    for match in _ATTRIBUTE.finditer(rest):
        name, value = match.groups()
        if match.start() != end or name not in _KNOWN or name in attributes or not _VALUE.fullmatch(value):
            raise AuthenticationFailed("Bad Request: Bad header format")
        attributes[name] = value
        end = match.end()
    if end != len(rest) or not attributes.keys() >= {"id", "ts", "nonce", "mac"}:
        raise AuthenticationFailed("Bad Request: Bad header format")
    return attributes


def _check_skew(ts: str, now: datetime) -> None:
    if not (ts.isascii() and ts.isdigit()) or abs(int(ts) - now.timestamp()) > SKEW_S:
        raise AuthenticationFailed("Unauthorized: Stale timestamp")


def _split_bewit(bewit: str) -> tuple[str, str, str, str]:
    try:
        decoded = base64.urlsafe_b64decode(bewit + "=" * (-len(bewit) % 4)).decode("latin-1")
    except (binascii.Error, ValueError):
        raise AuthenticationFailed("Bad Request: Invalid bewit encoding") from None
    parts = decoded.split("\\")
    if len(parts) != 4:
        raise AuthenticationFailed("Bad Request: Invalid bewit structure")
    client_id, expiry, mac, ext = parts
    if not (client_id and expiry and mac):
        raise AuthenticationFailed("Bad Request: Missing bewit attributes")
    return client_id, expiry, mac, ext


def _text(kind: str, request: SignedRequest, attributes: dict[str, str]) -> str:
    lines = [
        f"hawk.1.{kind}",
        attributes["ts"],
        attributes["nonce"],
        request.method,
        request.resource,
        request.host.lower(),
        str(request.port),
        attributes.get("hash", ""),
        attributes.get("ext", "").replace("\\", "\\\\").replace("\n", "\\n"),
    ]
    if attributes.get("app"):
        lines += [attributes["app"], attributes.get("dlg", "")]
    return "\n".join(lines) + "\n"
