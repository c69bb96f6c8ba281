"""The secrets service."""

from flask import Blueprint, Response

from taskward.devcluster.clock import parse_instant
from taskward.devcluster.routes.request import Page, body, caller, check_path, cluster, reply
from taskward.devcluster.shapes import instant, mapping, record

routes = Blueprint("secrets", __name__, url_prefix="/api/secrets/v1")
routes.url_value_preprocessor(check_path)

_SECRET = record({"secret": mapping(), "expires": instant})


@routes.put("/secret/<any_text:name>", endpoint="set")
def set_secret(name: str) -> Response:
    """Store a secret."""
    wish = body(_SECRET)
    caller().require(f"secrets:set:{name}")
    cluster().secrets.set(name, wish["secret"], parse_instant(wish["expires"]))
    return reply({})


@routes.get("/secret/<any_text:name>", endpoint="get")
def get_secret(name: str) -> Response:
    """Return a secret."""
    caller().require(f"secrets:get:{name}")
    return reply(cluster().secrets.get(name))


@routes.delete("/secret/<any_text:name>", endpoint="remove")
def remove_secret(name: str) -> Response:
    """Delete a secret."""
    caller().require(f"secrets:set:{name}")
    cluster().secrets.remove(name)
    return reply({})


@routes.get("/secrets", endpoint="list")
def list_secrets() -> Response:
    """Return the names of secrets."""
    caller().require("secrets:list-secrets")
    return reply(Page.of_query().list("secrets", cluster().secrets.list, str))
