"""The queue's calls for workers: claim, keep, report."""

import socket
import time
from datetime import datetime

from flask import Blueprint, Response, request

from taskward.devcluster.claims import Claim, Worker
from taskward.devcluster.clock import write_instant
from taskward.devcluster.identifiers import GENERIC
from taskward.devcluster.routes.request import body, caller, check_path, cluster, reply
from taskward.devcluster.runs import EXCEPTION_REASONS
from taskward.devcluster.shapes import integer, record, text
from taskward.devcluster.tasks import Task

routes = Blueprint("work", __name__, url_prefix="/api/queue/v1")
routes.url_value_preprocessor(check_path)

#: The longest a poll sleeps before it looks whether its client is still there.
_LOOK_S = 1.0

_WORKER = {"workerGroup": text(GENERIC), "workerId": text(GENERIC)}
_CLAIM_WORK = record(_WORKER, {"tasks": integer(1, 32)})
_CLAIM_TASK = record(_WORKER)
_EXCEPTION = record({"reason": text(choices=list(EXCEPTION_REASONS))})


@routes.post("/claim-work/<pair:task_queue_id>")
def claim_work(task_queue_id: str) -> Response:
    """Claim pending runs, or wait for some; an empty list when none came."""
    wish = body(_CLAIM_WORK)
    worker = Worker(wish["workerGroup"], wish["workerId"])
    caller().require(f"queue:claim-work:{task_queue_id}", f"queue:worker-id:{_path(worker)}")
    cluster().queue_workers.seen(task_queue_id, worker)
    claims = _wait_for_work(task_queue_id, worker, wish.get("tasks", 1))
    cluster().queue_workers.seen(task_queue_id, worker, claims)
    # The real queue writes this one time with an offset, and all others with a Z.
    return reply(
        {"tasks": [{**claim.to_json(_with_offset), "task": claim.task.current_definition()} for claim in claims]}
    )


@routes.post("/task/<task_id>/runs/<run_id>/claim")
def claim_task(task_id: str, run_id: int) -> Response:
    """Claim a certain run."""
    wish = body(_CLAIM_TASK)
    worker = Worker(wish["workerGroup"], wish["workerId"])
    queue_id = cluster().tasks.load(task_id).task_queue_id
    caller().require(f"queue:claim-task:{queue_id}", f"queue:worker-id:{_path(worker)}")
    claim = cluster().claims.take_one(task_id, run_id, worker)
    return reply({**claim.to_json(_with_offset), "task": claim.task.current_definition()})


@routes.post("/task/<task_id>/runs/<run_id>/reclaim")
def reclaim_task(task_id: str, run_id: int) -> Response:
    """Prolong a claim."""
    caller().require(f"queue:reclaim-task:{task_id}/{run_id}")
    return reply(cluster().claims.renew(task_id, run_id).to_json(write_instant))


@routes.post("/task/<task_id>/runs/<run_id>/completed")
def report_completed(task_id: str, run_id: int) -> Response:
    """Resolve a run as completed."""
    return _report(task_id, run_id, "completed")


@routes.post("/task/<task_id>/runs/<run_id>/failed")
def report_failed(task_id: str, run_id: int) -> Response:
    """Resolve a run as failed."""
    return _report(task_id, run_id, "failed")


@routes.post("/task/<task_id>/runs/<run_id>/exception")
def report_exception(task_id: str, run_id: int) -> Response:
    """Resolve a run as exception."""
    reason = body(_EXCEPTION)["reason"]
    caller().require(f"queue:resolve-task:{task_id}/{run_id}")
    return _status(cluster().runs.report_exception(task_id, run_id, reason))


def _wait_for_work(task_queue_id: str, worker: Worker, most: int) -> list[Claim]:
    deadline_s = time.monotonic() + cluster().settings.claim_wait_s
    idle = cluster().queue_workers.in_quarantine(task_queue_id, worker)
    while True:
        count = cluster().room.count
        # A client that went away must not be given a run.
        if _is_gone():
            return []
        claims = [] if idle else cluster().claims.take(task_queue_id, worker, most)
        left_s = deadline_s - time.monotonic()
        if claims or left_s <= 0:
            return claims
        cluster().room.wait(count, min(left_s, _LOOK_S))


def _is_gone() -> bool:
    connection = request.environ.get("gunicorn.socket")
    if connection is None:
        return False
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _report(task_id: str, run_id: int, state: str) -> Response:
    caller().require(f"queue:resolve-task:{task_id}/{run_id}")
    return _status(cluster().runs.report(task_id, run_id, state))


def _status(task: Task) -> Response:
    return reply({"status": task.status()})


def _path(worker: Worker) -> str:
    return f"{worker.worker_group}/{worker.worker_id}"


def _with_offset(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds")
