"""The purge-cache service."""

from typing import Any

from flask import Blueprint, Response, request

from taskward.devcluster.clock import parse_instant
from taskward.devcluster.errors import InvalidRequestArguments
from taskward.devcluster.routes.request import Page, body, caller, check_path, cluster, reply
from taskward.devcluster.shapes import record, text

routes = Blueprint("purge_cache", __name__, url_prefix="/api/purge-cache/v1")
routes.url_value_preprocessor(check_path)


@routes.get("/purge-cache/list")
def all_purge_requests() -> Response:
    """Return the requests for all pools."""
    caller().require("purge-cache:all-purge-requests")
    return reply(Page.of_query().list("requests", cluster().purge_cache.list, _key))


@routes.post("/purge-cache/<pair:worker_pool_id>")
def purge_cache(worker_pool_id: str) -> Response:
    """Ask for a cache to be thrown away."""
    name = body(record({"cacheName": text(shortest=1, longest=1024)}))["cacheName"]
    caller().require(f"purge-cache:{worker_pool_id}:{name}")
    cluster().purge_cache.request(worker_pool_id, name)
    return Response(status=204)


@routes.get("/purge-cache/<pair:worker_pool_id>")
def purge_requests(worker_pool_id: str) -> Response:
    """Return the requests for a pool."""
    # Two colons: so the real service asks.
    caller().require(f"purge-cache:purge-requests::{worker_pool_id}")
    since = request.args.get("since")
    try:
        from_then = parse_instant(since) if since is not None else None
    except ValueError as error:
        raise InvalidRequestArguments(f"Query parameter since: {error}") from None
    return reply({"requests": cluster().purge_cache.requests(worker_pool_id, from_then)})


def _key(entry: dict[str, Any]) -> str:
    return f"{entry['provisionerId']}/{entry['workerType']}\n{entry['cacheName']}"
