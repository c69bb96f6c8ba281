"""The auth service."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, request

from taskward.devcluster.authentication import Authenticator, Caller
from taskward.devcluster.clients import Client
from taskward.devcluster.clock import parse_instant, write_instant
from taskward.devcluster.errors import AuthenticationFailed, InputError
from taskward.devcluster.hawk import SignedRequest
from taskward.devcluster.identifiers import CLIENT, ROLE, SCOPE
from taskward.devcluster.routes.request import Page, authenticate, body, caller, cluster, reply
from taskward.devcluster.scopes import Expression
from taskward.devcluster.shapes import array, check, flag, instant, integer, record, text

routes = Blueprint("auth", __name__, url_prefix="/api/auth/v1")

_SCOPES = array(text(SCOPE))
_DESCRIPTION = text(longest=10240)
_CLIENT = record({"expires": instant, "description": _DESCRIPTION}, {"scopes": _SCOPES, "deleteOnExpiration": flag})
_ROLE = record({"description": _DESCRIPTION, "scopes": _SCOPES})
_TEST = record({"clientScopes": _SCOPES, "requiredScopes": _SCOPES})
_HAWK = record(
    {"method": text(choices=("get", "post", "put", "head", "delete", "options", "trace", "copy", "lock",
                             "mkcol", "move", "purge", "propfind", "proppatch", "unlock", "report",
                             "mkactivity", "checkout", "merge", "m-search", "notify", "subscribe",
                             "unsubscribe", "patch", "search", "connect")),
     "resource": text(), "host": text(), "port": integer(0, 65535)},
    {"authorization": text(), "sourceIp": text()},
)  # fmt: skip

_TESTER = "tester"
_TESTER_TOKEN = "no-secret"  # noqa: S105 - published by the real service; good for nothing but its tests


def _check_id(pattern: str, identifier: str) -> str:
    """Return an identifier of a client or role; raises ``InputValidationError``."""
    check(text(pattern), identifier)
    return identifier


def _single_stars(scopes: list[str]) -> list[str]:
    """Return the scopes; raises ``InputError``."""
    if any(scope.endswith("**") for scope in scopes):
        raise InputError("scopes must not end with `**`")
    return scopes


@routes.get("/clients/")
@routes.get("/clients")
def list_clients() -> Response:
    """Return clients."""
    caller().require("auth:list-clients")
    prefix = request.args.get("prefix", "")
    return reply(
        Page.of_query().list(
            "clients",
            lambda after, limit: cluster().clients.page(prefix, after, limit),
            lambda one: str(one["clientId"]),
        )
    )


@routes.get("/clients/<any_text:client_id>")
def client(client_id: str) -> Response:
    """Return a client."""
    caller().require(f"auth:get-client:{client_id}")
    return reply(cluster().clients.get(client_id))


@routes.put("/clients/<any_text:client_id>")
def create_client(client_id: str) -> Response:
    """Make a client."""
    wish = body(_CLIENT)
    scopes = _single_stars(wish.get("scopes", []))
    caller().require(f"auth:create-client:{_check_id(CLIENT, client_id)}", *scopes)
    expires, delete = parse_instant(wish["expires"]), wish.get("deleteOnExpiration", False)
    return reply(cluster().clients.create(client_id, wish["description"], scopes, expires, delete))


@routes.post("/clients/<any_text:client_id>")
def update_client(client_id: str) -> Response:
    """Change a client."""
    wish = body(_CLIENT)
    added = set(_single_stars(wish.get("scopes", []))) - set(cluster().clients.get(client_id)["scopes"])
    caller().require(f"auth:update-client:{client_id}", *sorted(added))
    expires = parse_instant(wish["expires"])
    return reply(cluster().clients.update(client_id, wish["description"], wish.get("scopes"), expires))


@routes.post("/clients/<any_text:client_id>/reset")
def reset_access_token(client_id: str) -> Response:
    """Give a client a new token."""
    caller().require(f"auth:reset-access-token:{client_id}")
    return reply(cluster().clients.reset_access_token(client_id))


@routes.post("/clients/<any_text:client_id>/enable")
def enable_client(client_id: str) -> Response:
    """Let a client in again."""
    caller().require(f"auth:enable-client:{client_id}")
    return reply(cluster().clients.set_disabled(client_id, False))


@routes.post("/clients/<any_text:client_id>/disable")
def disable_client(client_id: str) -> Response:
    """Shut a client out."""
    caller().require(f"auth:disable-client:{client_id}")
    return reply(cluster().clients.set_disabled(client_id, True))


@routes.delete("/clients/<any_text:client_id>")
def delete_client(client_id: str) -> Response:
    """Remove a client."""
    caller().require(f"auth:delete-client:{client_id}")
    cluster().clients.delete(client_id)
    return Response(status=204)


@routes.get("/roles/")
@routes.get("/roles")
def list_roles() -> Response:
    """Return all roles."""
    caller().require("auth:list-roles")
    return reply(cluster().roles.list())


@routes.get("/roles2/")
@routes.get("/roles2")
def list_roles2() -> Response:
    """Return roles, in pages."""
    caller().require("auth:list-roles")
    return reply(Page.of_query().list("roles", _roles, lambda one: str(one["roleId"])))


@routes.get("/roleids/")
@routes.get("/roleids")
def list_role_ids() -> Response:
    """Return the ids of roles."""
    caller().require("auth:list-roles")
    key = "roleId"
    return reply(Page.of_query().list("roleIds", _roles, lambda one: str(one[key]), lambda one: one[key]))


@routes.get("/roles/<any_text:role_id>")
def role(role_id: str) -> Response:
    """Return a role."""
    caller().require(f"auth:get-role:{role_id}")
    return reply(cluster().roles.get(role_id))


@routes.put("/roles/<any_text:role_id>")
def create_role(role_id: str) -> Response:
    """Make a role."""
    wish = body(_ROLE)
    _single_stars(wish["scopes"])
    caller().require(f"auth:create-role:{_check_id(ROLE, role_id)}", *wish["scopes"])
    return reply(cluster().roles.create(role_id, wish["description"], wish["scopes"]))


@routes.post("/roles/<any_text:role_id>")
def update_role(role_id: str) -> Response:
    """Change a role."""
    wish = body(_ROLE)
    former = cluster().roles.expand(cluster().roles.get(role_id)["scopes"])
    added = [scope for scope in _single_stars(wish["scopes"]) if not former.satisfies(scope)]
    caller().require(f"auth:update-role:{role_id}", *added)
    return reply(cluster().roles.update(role_id, wish["description"], wish["scopes"]))


@routes.delete("/roles/<any_text:role_id>")
def delete_role(role_id: str) -> Response:
    """Remove a role."""
    caller().require(f"auth:delete-role:{role_id}")
    cluster().roles.delete(role_id)
    return Response(status=204)


@routes.post("/scopes/expand")
def expand_scopes() -> Response:
    """Fill in the roles among some scopes."""
    wish = body(record({"scopes": _SCOPES}))
    caller().require("auth:expand-scopes")
    return reply({"scopes": cluster().roles.expand(wish["scopes"]).sorted()})


@routes.get("/scopes/current")
def current_scopes() -> Response:
    """Return the caller's scopes."""
    caller().require("auth:current-scopes")
    return reply({"scopes": caller().scopes.sorted()})


@routes.post("/authenticate-hawk")
def authenticate_hawk() -> Response:
    """Tell another service who sent it a request."""
    sent = body(_HAWK)
    signed = SignedRequest(sent["method"].upper(), sent["resource"], sent["host"], sent["port"])
    try:
        found = cluster().authenticator.authenticate(signed, sent.get("authorization", ""))
    except AuthenticationFailed as error:
        return reply({"status": "auth-failed", "message": str(error)})
    return reply(_describe(found))


@routes.post("/test-authenticate")
def test_authenticate() -> Response:
    """Let anybody test a way of signing, with the client ``tester``."""
    wish = body(_TEST)
    return _test(wish["clientScopes"], wish["requiredScopes"])


@routes.get("/test-authenticate-get/")
@routes.get("/test-authenticate-get")
def test_authenticate_get() -> Response:
    """Let anybody test a way of signing URLs, with the client ``tester``."""
    return _test(["test:*", "auth:create-client:test:*"], ["test:authenticate-get"])


def _test(scopes: list[str], required: list[Expression]) -> Response:
    far = datetime(3000, 1, 1, tzinfo=UTC)
    tester = Client(_TESTER, _TESTER_TOKEN, "", scopes, far, far, far, far, False, False)

    def load(client_id: str) -> Client:
        if client_id != _TESTER:
            raise AuthenticationFailed(f"Client with clientId '{client_id}' not found")
        return replace(tester)

    found = authenticate(Authenticator(load, cluster().roles, cluster().clock))
    found.require(*required)
    return reply({"clientId": found.client_id, "scopes": found.scopes.sorted()})


def _roles(after: str, limit: int) -> list[dict[str, Any]]:
    return [one for one in cluster().roles.list() if one["roleId"] > after][:limit]


def _describe(found: Caller) -> dict[str, Any]:
    document: dict[str, Any] = {"expires": write_instant(found.expires), "scopes": found.scopes.sorted()}
    if not found.client_id:
        return {"status": "no-auth", "scheme": "none", **document}
    if found.payload_hash:
        document["hash"] = found.payload_hash
    return {"status": "auth-success", "scheme": "hawk", "clientId": found.client_id, **document}
