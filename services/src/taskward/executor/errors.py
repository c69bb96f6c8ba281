"""The error tree of the executor, grouped by what happens next.

::

    TaskwardError
    └── ExecutorError
        ├── TaskEnded             the run ends with the outcome that the error carries; its log says why
        │   └── MalformedPayload  the task's own definition is at fault: exception/malformed-payload
        ├── EngineFailed          this machine could not do it: exception/internal-error
        │   └── EngineExhausted   it has no room now: exception/intermittent-task, so that the queue runs it again
        ├── CommandNotStarted     the command is missing or not executable: the task failed
        └── OwnerAlive            another process still works on the run; the job is to be tried again later
"""

from taskward.core.errors import TaskwardError
from taskward.core.outcome import Outcome, exception


class ExecutorError(TaskwardError):
    """Root of everything the executor raises on purpose."""


class TaskEnded(ExecutorError):
    """The run cannot go on; `outcome` says how it ends."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class MalformedPayload(TaskEnded):
    """The payload, or something else in the task's definition, cannot be carried out here."""

    def __init__(self, message: str) -> None:
        super().__init__(exception("malformed-payload", message))


class EngineFailed(ExecutorError):
    """A user, directory, cgroup or process could not be made; not the task's fault."""


class EngineExhausted(EngineFailed):
    """The machine has no processes, memory or disk left; another time, or another machine, may do."""


class CommandNotStarted(ExecutorError):
    """The program does not exist or cannot be executed; the text is the system's."""


class OwnerAlive(ExecutorError):
    """The run's recorded owner is alive, so it is not ours to take over."""
