"""Temporary credentials: made from a permanent client's token, carried with their certificate.

The rules are those of Taskcluster's auth service, leeway and messages included.
"""

import base64
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from taskward.devcluster.clients import Client
from taskward.devcluster.clock import from_ms, to_ms
from taskward.devcluster.errors import AuthenticationFailed
from taskward.devcluster.identifiers import new_slug
from taskward.devcluster.scopes import ScopeSet, all_of

#: A certificate still counts so long after its expiry, and already so long before its start.
LEEWAY = timedelta(minutes=5)
LONGEST_LIFE = timedelta(days=31)


def create_temporary(
    issuer: Client, client_id: str, scopes: list[str], start: datetime, expiry: datetime
) -> dict[str, str]:
    """Return named temporary credentials ``{clientId, accessToken, certificate}``; all values are strings."""
    certificate = {
        "version": 1,
        "scopes": scopes,
        "start": to_ms(start),
        "expiry": to_ms(expiry),
        "seed": new_slug() + new_slug(),
        "issuer": issuer.client_id,
    }
    certificate["signature"] = _sign(certificate, client_id, issuer.access_token)
    return {
        "clientId": client_id,
        "accessToken": _temporary_token(str(certificate["seed"]), issuer.access_token),
        "certificate": json.dumps(certificate, separators=(",", ":")),
    }


@dataclass(frozen=True)
class Certificate:
    """A certificate of the right form, not verified yet."""

    scopes: list[str]
    start: datetime
    expiry: datetime
    seed: str
    issuer: str
    signature: str
    raw: dict[str, Any]

    @staticmethod
    def parse(raw: Any) -> "Certificate":
        """Read the ``certificate`` of a signature's ext.

        Raises ``AuthenticationFailed`` that names the first fault.
        """
        _demand(isinstance(raw, dict), "must be a JSON object")
        _demand(raw.get("version") == 1, "version must be 1", ".")
        _demand(isinstance(raw.get("seed"), str), "seed must be a string", ".")
        _demand(len(raw["seed"]) == 44, "seed must be 44 characters", ".")
        for name in ("start", "expiry"):
            number = raw.get(name)
            _demand(isinstance(number, int) and abs(number) < 2**53, f"{name} must be a number", ".")
        _demand(_are_scopes(raw.get("scopes")), "scopes must be an array of valid scopes", ".")
        _demand(isinstance(raw.get("issuer", ""), str), "issuer must be a string", ".")
        _demand(isinstance(raw.get("signature"), str), "signature is not valid", ".")
        try:
            start, expiry = from_ms(raw["start"]), from_ms(raw["expiry"])
        except OverflowError:
            raise AuthenticationFailed("ext.certificate.start or expiry is no time") from None
        return Certificate(raw["scopes"], start, expiry, raw["seed"], raw.get("issuer", ""), raw["signature"], raw)

    def verify(self, client_id: str, issuer: Client, issuer_scopes: ScopeSet, now: datetime) -> str:
        """Return the temporary access token.

        Raises ``AuthenticationFailed`` when the certificate does not hold now, or the issuer may not
        give these scopes or this client id.
        """
        _demand(self.start <= now + LEEWAY, "start > now", ".")
        _demand(self.expiry >= now - LEEWAY, "expiry < now", ".")
        _demand(self.expiry - self.start <= LONGEST_LIFE, "cannot last longer than 31 days!")
        if issuer.client_id != client_id:
            create_scope = f"auth:create-client:{client_id}"
            _demand(
                issuer_scopes.satisfies(create_scope),
                f"issuer `{issuer.client_id}` doesn't have `{create_scope}` for supplied clientId.",
            )
        else:
            _demand("clientId" not in self.raw, "clientId must only be used with ext.certificate.issuer", ".")
        _demand(
            issuer_scopes.satisfies(all_of(*self.scopes)),
            f"issuer `{issuer.client_id}` doesn't satisfy all certificate scopes {', '.join(self.scopes)}."
            "  The temporary credentials were not generated correctly.",
        )
        expected = _sign(self.raw, client_id, issuer.access_token)
        hint = ", or wrong clientId provided" if self.issuer else ""
        matches = hmac.compare_digest(expected.encode(), self.signature.encode("utf-8", "replace"))
        _demand(matches, f"signature is not valid{hint}", ".")
        return _temporary_token(self.seed, issuer.access_token)


def parse_authorized_scopes(raw: Any) -> list[str]:
    """Read the ``authorizedScopes`` of a signature's ext.

    Raises ``AuthenticationFailed`` when they are not scopes.
    """
    if not _are_scopes(raw):
        raise AuthenticationFailed("ext.authorizedScopes must be an array of valid scopes")
    return list(raw)


def _demand(holds: bool, fault: str, joint: str = " ") -> None:
    if not holds:
        raise AuthenticationFailed(f"ext.certificate{joint}{fault}")


def _are_scopes(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(scope, str) and scope.isascii() and (scope.isprintable()) for scope in value
    )


def _sign(certificate: dict[str, Any], client_id: str, access_token: str) -> str:
    lines = ["version:1"]
    if certificate.get("issuer"):
        lines += [f"clientId:{client_id}", f"issuer:{certificate['issuer']}"]
    lines += [f"{name}:{certificate[name]}" for name in ("seed", "start", "expiry")]
    return base64.b64encode(_mac(access_token, [*lines, "scopes:", *certificate["scopes"]])).decode()


def _temporary_token(seed: str, access_token: str) -> str:
    return base64.urlsafe_b64encode(_mac(access_token, [seed])).decode().rstrip("=")


def _mac(access_token: str, lines: Iterable[str]) -> bytes:
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    return hmac.digest(access_token.encode(), text, "sha256")
