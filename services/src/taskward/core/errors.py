"""The error tree of `core`, grouped by what the caller does next.

::

    TaskwardError
    ├── ConfigurationError    a person must change the configuration; the process exits 64
    ├── JobRefused            a message of the queue is not one of ours; drop it, never run it
    ├── PhaseConflict         the run is not where the caller thought; read it again, or leave it alone
    └── TaskclusterError
        ├── Unreachable       nothing was decided; try again later
        └── Refused           Taskcluster said no (4xx); trying again changes nothing
            └── Conflict      409: the run has moved on, or the artifact exists with other properties
"""


class TaskwardError(Exception):
    """Root of everything `core` raises on purpose."""


class ConfigurationError(TaskwardError):
    """The configuration cannot be used; the text says which key, why, and the remedy."""


class JobRefused(TaskwardError):
    """A job in Redis is not one of ours (unknown function, wrong arguments, callback, too large)."""


class PhaseConflict(TaskwardError):
    """A run was not in the phase, or not owned by the process, that a change asked for."""

    def __init__(self, run_key: str, found: str) -> None:
        super().__init__(f"run {run_key}: {found}")
        self.found = found


class TaskclusterError(TaskwardError):
    """A call of a Taskcluster service did not succeed."""


class Unreachable(TaskclusterError):
    """No usable answer (network, 5xx, 429, time-out), after all retries; the call may or may not have happened.

    Attributes:
        status: of the answer that is of no use; 0 when there was none.
        retry_after_s: before which the service does not want to be asked again.
    """

    def __init__(self, message: str, status: int = 0, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.retry_after_s = status, retry_after_s


class Refused(TaskclusterError):
    """Taskcluster answered 4xx."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message = status, code, message


class Conflict(Refused):
    """409: the run has moved on, or the artifact exists with other properties."""
