"""The worker-manager service, as far as static workers need it."""

from typing import Any

from flask import Blueprint, Response, request

from taskward.devcluster.identifiers import GENERIC, WORKER_POOL
from taskward.devcluster.routes.request import Page, body, caller, check_path, cluster, reply
from taskward.devcluster.shapes import flag, instant, integer, mapping, record, text

routes = Blueprint("worker_manager", __name__, url_prefix="/api/worker-manager/v1")
routes.url_value_preprocessor(check_path)

_WORKER = {"workerPoolId": text(WORKER_POOL), "workerGroup": text(GENERIC), "workerId": text(GENERIC)}
_POOL = record(
    {
        "providerId": text(choices=("static",)),
        "description": text(longest=10240),
        "config": mapping(),
        "owner": text(),
        "emailOnError": flag,
    }
)
_CREATE = record({"expires": instant}, {"capacity": integer(1, 2**31), "providerInfo": mapping()})
_REGISTER = record(
    {**_WORKER, "providerId": text(GENERIC), "workerIdentityProof": mapping()}, {"systemBootTime": instant}
)
_REREGISTER = record({**_WORKER, "secret": text(longest=128)})
_ERROR = record(
    {
        "workerGroup": text(GENERIC),
        "workerId": text(GENERIC),
        "kind": text(longest=128),
        "title": text(longest=128),
        "description": text(longest=10240),
        "extra": mapping(),
    }
)


@routes.put("/worker-pool/<pair:worker_pool_id>")
def create_worker_pool(worker_pool_id: str) -> Response:
    """Make a pool."""
    caller().require(f"worker-manager:create-worker-pool:{worker_pool_id}", "worker-manager:provider:static")
    return reply(cluster().worker_pools.put_pool(worker_pool_id, body(_POOL), new=True))


@routes.post("/worker-pool/<pair:worker_pool_id>")
def update_worker_pool(worker_pool_id: str) -> Response:
    """Change a pool."""
    caller().require(f"worker-manager:update-worker-pool:{worker_pool_id}", "worker-manager:provider:static")
    return reply(cluster().worker_pools.put_pool(worker_pool_id, body(_POOL), new=False))


@routes.get("/worker-pool/<pair:worker_pool_id>")
def worker_pool(worker_pool_id: str) -> Response:
    """Return a pool."""
    caller().require(f"worker-manager:get-worker-pool:{worker_pool_id}")
    return reply(cluster().worker_pools.get_pool(worker_pool_id))


@routes.delete("/worker-pool/<pair:worker_pool_id>")
def delete_worker_pool(worker_pool_id: str) -> Response:
    """Give a pool up."""
    caller().require(f"worker-manager:delete-worker-pool:{worker_pool_id}")
    return reply(cluster().worker_pools.delete_pool(worker_pool_id))


@routes.get("/worker-pools")
def list_worker_pools() -> Response:
    """Return pools."""
    caller().require("worker-manager:list-worker-pools")
    page = Page.of_query()
    return reply(page.list("workerPools", cluster().worker_pools.list_pools, lambda one: str(one["workerPoolId"])))


@routes.get("/workers/<pair:worker_pool_id>")
def list_workers_for_worker_pool(worker_pool_id: str) -> Response:
    """Return the workers of a pool."""
    caller().require(f"worker-manager:list-workers:{worker_pool_id}")
    return _workers(worker_pool_id)


@routes.get("/workers/<pair:worker_pool_id>/<worker_group>")
def list_workers_for_worker_group(worker_pool_id: str, worker_group: str) -> Response:
    """Return the workers of a group of a pool."""
    caller().require(f"worker-manager:list-workers:{worker_pool_id}/{worker_group}")
    return _workers(worker_pool_id, f"{worker_group}/")


@routes.put("/workers/<pair:worker_pool_id>/<worker_group>/<worker_id>")
def create_worker(worker_pool_id: str, worker_group: str, worker_id: str) -> Response:
    """Announce a static worker."""
    path = f"{worker_pool_id}/{worker_group}/{worker_id}"
    caller().require(f"worker-manager:create-worker:{path}")
    announced = body(_CREATE)
    return reply(cluster().worker_pools.create_worker(worker_pool_id, worker_group, worker_id, announced))


@routes.post("/workers/<pair:worker_pool_id>/<worker_group>/<worker_id>")
def update_worker(worker_pool_id: str, worker_group: str, worker_id: str) -> Response:
    """Change what was announced of a static worker."""
    caller().require(f"worker-manager:update-worker:{worker_pool_id}/{worker_group}/{worker_id}")
    announced = body(_CREATE)
    return reply(cluster().worker_pools.update_worker(worker_pool_id, worker_group, worker_id, announced))


@routes.get("/workers/<pair:worker_pool_id>/<worker_group>/<worker_id>")
def worker(worker_pool_id: str, worker_group: str, worker_id: str) -> Response:
    """Return a worker."""
    caller().require(f"worker-manager:get-worker:{worker_pool_id}/{worker_group}/{worker_id}")
    return reply(cluster().worker_pools.get_worker(worker_pool_id, worker_group, worker_id))


@routes.delete("/workers/<pair:worker_pool_id>/<worker_group>/<worker_id>")
def remove_worker(worker_pool_id: str, worker_group: str, worker_id: str) -> Response:
    """Note that a worker is gone."""
    caller().require(f"worker-manager:remove-worker:{worker_pool_id}/{worker_group}/{worker_id}")
    cluster().worker_pools.remove_worker(worker_pool_id, worker_group, worker_id)
    return Response(status=204)


@routes.get("/workers/<pair:worker_pool_id>/<worker_group>/<worker_id>/should-terminate")
def should_worker_terminate(worker_pool_id: str, worker_group: str, worker_id: str) -> Response:
    """Tell a worker whether it is wanted."""
    caller().require(f"worker-manager:should-worker-terminate:{worker_pool_id}/{worker_group}/{worker_id}")
    cluster().worker_pools.get_worker(worker_pool_id, worker_group, worker_id)
    return reply({"terminate": False, "reason": "none"})


@routes.post("/worker/register")
def register_worker() -> Response:
    """Give a worker its credentials; the proof in the body stands in for a signature."""
    return reply(cluster().worker_pools.register(body(_REGISTER)))


@routes.post("/worker/reregister")
def reregister_worker() -> Response:
    """Give a worker new credentials."""
    wish: dict[str, Any] = body(_REREGISTER)
    path = f"{wish['workerPoolId']}/{wish['workerGroup']}/{wish['workerId']}"
    caller().require(f"worker-manager:reregister-worker:{path}")
    return reply(cluster().worker_pools.reregister(wish))


@routes.post("/worker-pool-errors/<pair:worker_pool_id>")
def report_worker_error(worker_pool_id: str) -> Response:
    """Store what went wrong on a worker."""
    told = body(_ERROR)
    who = f"{told['workerGroup']}/{told['workerId']}"
    caller().require(f"assume:worker-pool:{worker_pool_id}", f"assume:worker-id:{who}")
    return reply(cluster().worker_errors.report(worker_pool_id, told))


@routes.get("/worker-pool-errors/<pair:worker_pool_id>")
def list_worker_pool_errors(worker_pool_id: str) -> Response:
    """Return what was reported for a pool."""
    caller().require(f"worker-manager:list-worker-pool-errors:{worker_pool_id}")
    return reply({"workerPoolErrors": cluster().worker_errors.of_pool(worker_pool_id)})


def _workers(worker_pool_id: str, prefix: str = "") -> Response:
    def key(one: dict[str, Any]) -> str:
        return f"{one['workerGroup']}/{one['workerId']}"

    state = request.args.get("state")
    found = [
        one
        for one in cluster().worker_pools.list_workers(worker_pool_id)
        if key(one).startswith(prefix) and state in (None, one["state"])
    ]
    page = Page.of_query()
    return reply(page.list("workers", lambda after, limit: [one for one in found if key(one) > after][:limit], key))
