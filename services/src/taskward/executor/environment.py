"""The environment of a task: what it may set, what it may not, and nothing of the worker's own."""

from collections.abc import Mapping
from typing import Final

from taskward.core.ids import RunId
from taskward.core.settings import Settings
from taskward.executor.engine import Identity
from taskward.executor.task import Task

PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def environment_of(task: Task) -> dict[str, str]:
    """The variables of a task that is prepared: what its commands find."""
    group = str(task.definition.get("taskGroupId", task.run.task_id))
    return environment(task.run, group, task.engine.identity, task.settings, task.payload.env, task.environment)


def environment(run: RunId, task_group_id: str, identity: Identity, settings: Settings, wanted: Mapping[str, str],
                features: Mapping[str, str]) -> dict[str, str]:  # fmt: skip
    """All variables.

    Args:
        run: which run.
        task_group_id: its group.
        identity: the task's user and directory.
        settings: the worker's.
        wanted: the payload's, which may replace HOME, USER and PATH only.
        features: set by features; cannot be replaced.
    """
    forced = {
        "TASK_ID": run.task_id,
        "RUN_ID": str(run.run_id),
        "TASK_WORKDIR": str(identity.home),
        "TASK_GROUP_ID": task_group_id,
        "TASKCLUSTER_ROOT_URL": settings.taskcluster.root_url.rstrip("/"),
    }
    optional = {
        "TASKCLUSTER_WORKER_LOCATION": settings.executor.worker_location,
        "TASKCLUSTER_INSTANCE_TYPE": settings.executor.instance_type,
    }
    forced |= {name: value for name, value in optional.items() if value}
    own = {"HOME": str(identity.home), "USER": identity.user, "PATH": PATH}
    return {**own, **wanted, **forced, **features}
