"""A task that newer ones have made superfluous is not run; see `executor.superseding` for how that is found out."""

import json
from collections.abc import Iterator, Sequence
from typing import Final

from taskward.core.outcome import exception
from taskward.executor.errors import EngineFailed, TaskEnded
from taskward.executor.features.feature import Feature
from taskward.executor.features.own_file import OwnFile
from taskward.executor.superseding import asker, is_askable

ARTIFACT: Final = OwnFile("public/superseded-by.json", "superseded-by.json", "application/json")
_LARGEST_MESSAGE: Final = 4096


class Superseder(Feature):
    """``payload.supersederUrl``; before mounts, so that nothing is fetched for a task that is not run."""

    name = "Supersede"
    switch = "enable_superseder"

    def requested(self) -> bool:
        """When there is a URL; a worker that has this off ignores it, as generic-worker does today."""
        return bool(self.task.payload.superseder_url) and self.enabled()

    def reserved(self) -> Sequence[str]:
        """The artifact that names the newer task."""
        return (ARTIFACT.name,)

    def flaws(self) -> Iterator[str]:
        """A URL that cannot be asked."""
        url = self.task.payload.superseder_url
        if not is_askable(url):
            yield f"payload.supersederUrl must be a URL that begins with http:// or https://, not {url[:200]!r}"

    def start(self) -> None:
        """Asks; a service that cannot be understood supersedes nothing.

        Raises:
            TaskEnded: the task is superseded.
        """
        task = self.task
        answer = self._ask()
        if problem := answer.get("problem"):
            task.log.warn(f"Problem accessing supersederUrl: {problem}")
            task.log.warn("Not able to see if this task has been superseded!")
        elif (newest := answer["newest"]) != task.run.task_id:
            text = f"Task {task.run.task_id} has been superseded by task {newest}"
            ARTIFACT.write(task, json.dumps({"taskId": newest}).encode())
            raise TaskEnded(exception("superseded", text))

    def stop(self) -> None:
        """Publishes which task it was."""
        ARTIFACT.publish(self.task)

    def _ask(self) -> dict[str, str]:
        task = self.task
        timeout_s = task.settings.executor.superseder_timeout_s
        if task.watch is None:
            raise EngineFailed("a superseder can be asked only while the run is watched")
        with task.engine.as_task(asker(task.payload.superseder_url, task.run.task_id, timeout_s)) as connection:
            task.watch.wait({connection.fileno()})
            data = connection.recv(_LARGEST_MESSAGE)
        if not data:
            return {"problem": f"no answer within {timeout_s:g} s"}
        return dict(json.loads(data))
