"""The files that the payload wants to be kept."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from taskward.core.clock import format_time, parse_time
from taskward.executor import collect
from taskward.executor.features.feature import Feature
from taskward.executor.plan import Plan
from taskward.executor.reader import Reader, serve

_TOLERANCE: Final = timedelta(seconds=1)


class Artifacts(Feature):
    """``payload.artifacts``."""

    name = "Artifact Uploads"
    publishes = True

    def requested(self) -> bool:
        """When there are any."""
        return bool(self.task.payload.artifacts)

    def flaws(self) -> Iterator[str]:
        """Expiry dates that the queue would refuse later."""
        deadline, end = parse_time(self.task.definition["deadline"]), self.task.expires
        for request in self.task.payload.artifacts:
            if request.expires is None:
                continue
            if request.expires < deadline - _TOLERANCE:
                when = (
                    f"expires before task deadline ({format_time(request.expires)} is before {format_time(deadline)})"
                )
            elif request.expires > end + _TOLERANCE:
                when = f"expires after task expiry ({format_time(request.expires)} is after {format_time(end)})"
            else:
                continue
            yield f"malformed payload: artifact '{request.path}' {when}"

    def stop(self) -> None:
        """Finds and moves them; see `collect`."""
        task, identity = self.task, self.task.engine.identity
        outbox = task.layout.outbox(task.run)
        plan = Plan.of(task)
        collect.open_outbox(outbox)
        absolute_allowed = task.engine.isolated
        connection = task.engine.as_task(serve(identity.home, task.layout.state_dir, absolute_allowed))
        with Reader(connection) as reader:
            if not collect.load_plan(plan, outbox):
                for request in task.payload.artifacts:
                    plan.add(request, reader.find)
                collect.save_plan(plan, outbox)
            collect.move_all(plan, reader, outbox, identity.uid, copy=task.keeps_files)
        plan.hand_over(task)
