"""From a signed request to the caller and what the caller may do."""

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from taskward.devcluster.clients import Client
from taskward.devcluster.clock import Clock
from taskward.devcluster.credentials import Certificate, parse_authorized_scopes
from taskward.devcluster.errors import AuthenticationFailed, InsufficientScopes
from taskward.devcluster.hawk import Signature, SignedRequest, has_bewit, read_bewit, read_header
from taskward.devcluster.roles import Roles
from taskward.devcluster.scopes import Expression, ScopeSet, all_of, describe

_ANONYMOUS_ROLE = "assume:anonymous"
_ANONYMOUS_LIFE = timedelta(minutes=15)


@dataclass(frozen=True)
class Caller:
    """Who calls; ``client_id`` is empty for a request without a signature, ``payload_hash`` for one without a hash."""

    client_id: str
    scopes: ScopeSet
    expires: datetime
    payload_hash: str = ""

    def require(self, *needed: Expression) -> None:
        """Raise ``InsufficientScopes`` unless all of these are satisfied."""
        expression = all_of(*needed)
        missing = self.scopes.missing(expression)
        if missing is not None:
            who = f"Client ID {self.client_id}" if self.client_id else "An anonymous caller"
            raise InsufficientScopes(
                f"{who} does not have sufficient scopes and is missing the following scopes:\n\n```\n"
                f"{describe(missing)}\n```\n\nThis request requires the client to satisfy the following "
                f"scope expression:\n\n```\n{describe(expression)}\n```"
            )


class Authenticator:
    """Verifies signatures; safe to use from any thread.

    ``load_client`` returns a permanent client or raises ``AuthenticationFailed``.
    """

    def __init__(self, load_client: Callable[[str], Client], roles: Roles, clock: Clock) -> None:
        self._load_client = load_client
        self._roles = roles
        self._clock = clock

    def authenticate(self, request: SignedRequest, authorization: str) -> Caller:
        """Return the caller of a request, by its header, its bewit, or without either.

        Raises ``AuthenticationFailed``.
        """
        now = self._clock.now()
        if authorization and has_bewit(request):
            raise AuthenticationFailed(
                "Cannot use two authentication schemes at once: this request has both a bewit in its query and an "
                "Authorization header"
            )
        signature = read_header(authorization, request, now) if authorization else read_bewit(request, now)
        if signature is None:
            return Caller("", self._roles.expand([_ANONYMOUS_ROLE]), now + _ANONYMOUS_LIFE)
        return self._verify(signature, now)

    def _verify(self, signature: Signature, now: datetime) -> Caller:
        ext = _read_ext(signature.ext)
        certificate = Certificate.parse(ext["certificate"]) if ext.get("certificate") else None
        issuer_id = (certificate and certificate.issuer) or signature.client_id
        if certificate and certificate.issuer == signature.client_id:
            raise AuthenticationFailed("ext.certificate.issuer must differ from the supplied clientId")
        issuer = self._load_client(issuer_id)
        token, scopes, expires = issuer.access_token, issuer.scopes, issuer.expires
        if certificate:
            token = certificate.verify(signature.client_id, issuer, self._roles.expand(scopes), now)
            scopes, expires = certificate.scopes, min(expires, certificate.expiry)
        if ext.get("authorizedScopes") is not None:
            scopes = self._restrict(scopes, ext["authorizedScopes"])
        signature.verify(token)
        return Caller(
            signature.client_id, self._roles.expand([*scopes, _ANONYMOUS_ROLE]), expires, signature.payload_hash
        )

    def _restrict(self, scopes: list[str], wanted: Any) -> list[str]:
        held = self._roles.expand([*scopes, _ANONYMOUS_ROLE])
        authorized = parse_authorized_scopes(wanted)
        if not held.satisfies(all_of(*authorized)):
            lines = "\n".join(held.sorted()), "\n".join(authorized)
            raise AuthenticationFailed(
                "Supplied credentials do not satisfy authorizedScopes; credentials have scopes:\n\n"
                f"```\n{lines[0]}\n```\n\nauthorizedScopes are:\n\n```\n{lines[1]}\n```"
            )
        return authorized


def _read_ext(ext: str) -> dict[str, Any]:
    if not ext:
        return {}
    try:
        # Node accepts both alphabets of base64, with or without padding.
        unified = ext.replace("-", "+").replace("_", "/").rstrip("=")
        parsed = json.loads(base64.b64decode(unified + "=" * (-len(unified) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise AuthenticationFailed("Failed to parse ext") from None
    if not isinstance(parsed, dict):
        raise AuthenticationFailed("Failed to parse ext")
    return parsed
