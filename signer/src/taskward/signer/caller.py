"""Who calls: the proof that a request was made with the credentials of the run, now, and for this body."""

import base64
import hashlib
import hmac
import re
from typing import Final

from taskward.signer.answers import UnauthenticatedError
from taskward.signer.taskcluster import SignedCall

HOST: Final = "signer"
PORT: Final = 80
RESOURCE: Final = "/v1/certify"
CONTENT_TYPE: Final = "application/json"
MAX_AGE_S: Final = 60

_ATTRIBUTE = re.compile(r'\s*([a-z]+)="([^"\\]*)"\s*(?:,|$)')
_TIME_STAMP = re.compile(r"[0-9]{1,12}")
_MAX_HEADER_CHARACTERS = 16_384


def signed_call(authorization: str | None, body: bytes, now_s: float) -> SignedCall:
    """The call to be checked by the auth service, which looks neither at body nor age: both are checked here.

    The header's mac covers its hash and its time stamp, so what is checked here holds once auth agrees. Raises
    `UnauthenticatedError`.
    """
    attributes = _attributes(authorization or "")
    stamp = attributes.get("ts", "")
    if not _TIME_STAMP.fullmatch(stamp) or abs(int(stamp) - now_s) > MAX_AGE_S:
        raise _unproven(f"the request's time stamp is not within {MAX_AGE_S} s of this host's clock")
    if "hash" not in attributes:
        raise _unproven("the Hawk header has no payload hash")
    if not hmac.compare_digest(attributes["hash"].encode(), payload_hash(body)):
        raise _unproven("the Hawk header's payload hash is not that of the body")
    return SignedCall("post", RESOURCE, HOST, PORT, authorization or "")


def payload_hash(body: bytes) -> bytes:
    """Hawk's hash of a JSON body, base64: https://github.com/mozilla/hawk/blob/main/API.md#payload-validation."""
    text = b"hawk.1.payload\n" + CONTENT_TYPE.encode() + b"\n" + body + b"\n"
    return base64.b64encode(hashlib.sha256(text).digest())


def _attributes(header: str) -> dict[str, str]:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "hawk" or len(header) > _MAX_HEADER_CHARACTERS:
        raise _unproven("an Authorization header of the Hawk scheme is needed")
    attributes: dict[str, str] = {}
    while rest:
        match = _ATTRIBUTE.match(rest)
        if match is None or match[1] in attributes:
            raise _unproven("the Hawk header is malformed")
        attributes[match[1]] = match[2]
        rest = rest[match.end() :]
    return attributes


def _unproven(message: str) -> UnauthenticatedError:
    return UnauthenticatedError("not-authenticated", message)
