"""The queue's calls on the workers that it has seen."""

from typing import Any

from flask import Blueprint, Response, request

from taskward.devcluster.claims import Worker
from taskward.devcluster.clock import parse_instant, write_instant
from taskward.devcluster.routes.request import Page, body, caller, check_path, cluster, reply
from taskward.devcluster.shapes import instant, record, text

routes = Blueprint(
    "workers", __name__, url_prefix="/api/queue/v1/provisioners/<provisioner_id>/worker-types/<worker_type>"
)
routes.url_value_preprocessor(check_path)

_QUARANTINE = record({"quarantineUntil": instant}, {"quarantineInfo": text(longest=4000)})
_DECLARE = record({}, {"expires": instant})


@routes.get("/workers")
def list_workers(provisioner_id: str, worker_type: str) -> Response:
    """Return the workers of a queue."""
    caller().require(f"queue:list-workers:{provisioner_id}/{worker_type}")
    now, wanted = write_instant(cluster().clock.now()), request.args.get("quarantined")
    shown = [
        _listed(one, in_quarantine=one.get("quarantineUntil", "") > now)
        for one in cluster().queue_workers.of_queue(f"{provisioner_id}/{worker_type}")
    ]
    chosen = [one for one in shown if wanted is None or ("quarantineUntil" in one) == (wanted == "true")]
    return reply(
        Page.of_query().list("workers", lambda after, limit: [one for one in chosen if _key(one) > after][:limit], _key)
    )


@routes.get("/workers/<worker_group>/<worker_id>")
def get_worker(provisioner_id: str, worker_type: str, worker_group: str, worker_id: str) -> Response:
    """Return a worker."""
    queue_id = f"{provisioner_id}/{worker_type}"
    caller().require(f"queue:get-worker:{queue_id}/{worker_group}/{worker_id}")
    return reply(cluster().queue_workers.get(queue_id, Worker(worker_group, worker_id)))


@routes.put("/workers/<worker_group>/<worker_id>")
def quarantine_worker(provisioner_id: str, worker_type: str, worker_group: str, worker_id: str) -> Response:
    """Keep a worker from getting work."""
    queue_id, worker = f"{provisioner_id}/{worker_type}", Worker(worker_group, worker_id)
    until = parse_instant(body(_QUARANTINE)["quarantineUntil"])
    caller().require(f"queue:quarantine-worker:{queue_id}/{worker_group}/{worker_id}")
    return reply(cluster().queue_workers.quarantine(queue_id, worker, until))


@routes.put("/<worker_group>/<worker_id>")
def declare_worker(provisioner_id: str, worker_type: str, worker_group: str, worker_id: str) -> Response:
    """Note that there is a worker."""
    queue_id, worker = f"{provisioner_id}/{worker_type}", Worker(worker_group, worker_id)
    told = body(_DECLARE)
    caller().require(*(f"queue:declare-worker:{queue_id}/{worker_group}/{worker_id}#{name}" for name in told))
    cluster().queue_workers.seen(queue_id, worker)
    return reply(cluster().queue_workers.get(queue_id, worker))


def _listed(worker: dict[str, Any], in_quarantine: bool) -> dict[str, Any]:
    shown = {name: worker[name] for name in ("workerGroup", "workerId", "firstClaim", "lastDateActive")}
    if worker["recentTasks"]:
        shown["latestTask"] = worker["recentTasks"][-1]
    return {**shown, "quarantineUntil": worker["quarantineUntil"]} if in_quarantine else shown


def _key(worker: dict[str, Any]) -> str:
    return f"{worker['workerGroup']}/{worker['workerId']}"
