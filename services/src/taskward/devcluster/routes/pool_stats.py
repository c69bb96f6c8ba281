"""Worker-manager's calls that only count: what pools, workers and errors there are."""

from collections import Counter
from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, request

from taskward.devcluster.clock import parse_instant
from taskward.devcluster.routes.request import Page, caller, check_path, cluster, reply
from taskward.devcluster.worker_pools import PROVIDER_ID

routes = Blueprint("pool_stats", __name__, url_prefix="/api/worker-manager/v1")
routes.url_value_preprocessor(check_path)


@routes.get("/providers")
def list_providers() -> Response:
    """Return the one provider."""
    caller().require("worker-manager:list-providers")
    return reply({"providers": [{"providerId": PROVIDER_ID, "providerType": "static"}]})


@routes.get("/worker-pools/stats")
def list_worker_pools_stats() -> Response:
    """Return how many workers each pool has, by state."""
    caller().require("worker-manager:list-worker-pools")
    page = Page.of_query().list(
        "workerPoolsStats",
        cluster().worker_pools.list_pools,
        lambda pool: str(pool["workerPoolId"]),
        lambda pool: {"workerPoolId": pool["workerPoolId"], **cluster().worker_pools.counts(pool["workerPoolId"])},
    )
    return reply(page)


@routes.get("/worker-pool/<pair:worker_pool_id>/stats")
def worker_pool_stats(worker_pool_id: str) -> Response:
    """Return the same by launch configuration, of which static pools have none."""
    caller().require(f"worker-manager:get-worker-pool:{worker_pool_id}")
    cluster().worker_pools.get_pool(worker_pool_id)
    return reply({"launchConfigStats": []})


@routes.get("/worker-pool/<pair:worker_pool_id>/launch-configs")
def list_worker_pool_launch_configs(worker_pool_id: str) -> Response:
    """Return none: static pools launch nothing."""
    caller().require(f"worker-manager:list-launch-configs:{worker_pool_id}")
    cluster().worker_pools.get_pool(worker_pool_id)
    return reply({"workerPoolLaunchConfigs": []})


@routes.get("/worker-pool-errors/stats")
def worker_pool_error_stats() -> Response:
    """Return how many errors were reported within a week, of one pool or all."""
    pool_id = request.args.get("workerPoolId", "")
    caller().require(f"worker-manager:list-worker-pool-errors:{pool_id}")
    since = cluster().clock.now() - timedelta(days=7)
    errors = [one for one in cluster().worker_errors.of_pool(pool_id) if parse_instant(one["reported"]) >= since]
    totals: dict[str, Any] = {
        "total": len(errors),
        "daily": Counter(one["reported"][:10] for one in errors),
        "hourly": Counter(one["reported"][:13] + ":00:00Z" for one in errors),
        "title": Counter(one["title"] for one in errors),
        "code": Counter(str(one["extra"].get("code", "other")) for one in errors),
        "workerPool": Counter(one["workerPoolId"] for one in errors),
    }
    return reply({"workerPoolId": pool_id, "totals": totals})
