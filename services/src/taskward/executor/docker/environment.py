"""The variables of a container in docker-worker's order of precedence: reserved, the payload's, what features offer."""

from collections.abc import Mapping

from taskward.core.ids import RunId
from taskward.core.settings import Settings


def reserved(run: RunId, settings: Settings) -> dict[str, str]:
    """What no task can replace; empty where the worker does not know."""
    return {
        "TASK_ID": run.task_id,
        "RUN_ID": str(run.run_id),
        "TASKCLUSTER_INSTANCE_TYPE": settings.environment.instance_type or settings.executor.instance_type,
        "TASKCLUSTER_PUBLIC_IP": settings.environment.public_ip_address,
        "TASKCLUSTER_ROOT_URL": settings.taskcluster.root_url.rstrip("/"),
        "TASKCLUSTER_WORKER_GROUP": settings.worker.worker_group,
        "TASKCLUSTER_WORKER_LOCATION": settings.executor.worker_location,
        "TASKCLUSTER_WORKER_POOL": settings.worker.task_queue_id,
        "TASKCLUSTER_WORKER_TYPE": settings.worker.task_queue_id.partition("/")[2],
    }


def environment(
    run: RunId, task_group_id: str, settings: Settings, wanted: Mapping[str, str], offered: Mapping[str, str]
) -> dict[str, str]:
    """All variables beside the image's own.

    Args:
        run: which run.
        task_group_id: its group.
        settings: the worker's.
        wanted: the payload's, with what was decrypted.
        offered: by features; the payload may say otherwise.
    """
    return {"TASK_GROUP_ID": task_group_id, **offered, **wanted, **reserved(run, settings)}
