"""Commands with the rights of the worker: of root, where the worker is root. Off, unless the worker's owner wants it.

Such a task owns the machine: it can read every key, credential and file of the worker and of later tasks.
"""

import json
import os
from collections.abc import Iterator, Sequence
from typing import Final

from taskward.executor.features.feature import Feature
from taskward.executor.peer import Peer

_FILE: Final = "task-user-credentials.json"


class RunTaskAsCurrentUser(Feature):
    """``features.runTaskAsCurrentUser``; mounts, which come before it, still belong to the task's own user."""

    name = "Run Task As Current User"
    key = "runTaskAsCurrentUser"
    switch = "enable_run_task_as_current_user"

    def scopes(self) -> Sequence[str]:
        """One for the worker pool."""
        return (f"generic-worker:run-task-as-current-user:{self.task.settings.worker.task_queue_id}",)

    def flaws(self) -> Iterator[str]:
        """Other tasks beside it would be in its hands, and so are the signing keys."""
        capacity = self.task.settings.worker.capacity
        if capacity > 1:
            yield f"Feature {self.key} is only available on workers with a capacity of 1; this one's is {capacity}"
        if self.task.payload.features & {"chainOfTrust", "generateCertificate"}:
            yield (
                "was expecting attempt to read private chain of trust key as task user to fail - however, it did not: "
                f"a task with feature {self.key} may read everything, so nothing can be certified for it"
            )

    def start(self) -> None:
        """Commands find out whose rights they would have had from ``TASK_USER_CREDENTIALS``; users have no password."""
        task = self.task
        identity = task.engine.identity
        path = identity.home / _FILE
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "w") as file:
            json.dump({"name": identity.user, "password": ""}, file)
        task.environment["TASK_USER_CREDENTIALS"] = str(path)
        task.engine.keep_own_rights()
        Peer(task).serve(os.geteuid())
