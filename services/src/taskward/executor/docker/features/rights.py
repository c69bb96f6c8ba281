"""What a task in a container may have at all, asked before anything is fetched or made for it."""

from collections.abc import Iterator
from typing import Final

from taskward.executor.docker.features.container_feature import ContainerFeature, refused
from taskward.executor.docker.scopes import Granted, first_refusal
from taskward.executor.features.feature import task_scopes

_WITHOUT_KEY: Final = frozenset({"artifacts", "backingLog", "chainOfTrust"})
"""Flags of features that look at more than their flag."""


class Rights(ContainerFeature):
    """Every task has it: scopes and switches of all that the payload asks for (`docker.scopes`)."""

    name = "Rights"

    def flaws(self) -> Iterator[str]:
        """Features that this worker does not have."""
        from taskward.executor.docker.features import ORDER  # names this module

        has = {kind.key for kind in ORDER} | _WITHOUT_KEY
        if absent := sorted(self.task.payload.asked - has):
            verb = "is" if len(absent) == 1 else "are"
            yield f"payload.features: {', '.join(absent)} {verb} not enabled on this worker"

    def granted(self) -> Granted:
        """What the task may do."""
        task = self.task
        written = tuple(map(str, task.definition.get("scopes", ())))
        return Granted(written, task_scopes(task), task.settings.worker.task_queue_id)

    def start(self) -> None:
        """Tells what of the payload is left out of account, and asks.

        Raises:
            TaskEnded: the task fails; it is not malformed, since scopes and switches may change.
        """
        for warning in self.task.payload.warnings:
            self.task.log.warn(warning)
        if text := first_refusal(self.task.payload, self.granted(), self.task.settings.docker):
            raise refused(text)
