"""The name of a run: taskId and runId."""

import re
from dataclasses import dataclass
from typing import Self

_SLUGID = re.compile(r"[A-Za-z0-9_-]{8}[Q-T][A-Za-z0-9_-][CGKOSWaeimquy26-][A-Za-z0-9_-]{10}[AQgw]")


@dataclass(frozen=True, order=True)
class RunId:
    """One run of one task; the value that every message and record names."""

    task_id: str
    run_id: int

    def __post_init__(self) -> None:
        if not _SLUGID.fullmatch(self.task_id):
            raise ValueError(f"not a taskId: {self.task_id[:80]!r}")
        if isinstance(self.run_id, bool) or not 0 <= self.run_id <= 1000:
            raise ValueError(f"not a runId: {self.run_id!r}")

    @classmethod
    def parse(cls, key: str) -> Self:
        """The run that `key` (``taskId/runId``) names.

        Raises:
            ValueError: it names none.
        """
        task_id, _, run_id = key.partition("/")
        if not (run_id.isascii() and run_id.isdigit() and len(run_id) <= 4):
            raise ValueError(f"not a run: {key[:80]!r}")
        return cls(task_id, int(run_id))

    @classmethod
    def of_directory(cls, name: str) -> Self:
        """The run that `name` (``taskId-runId``) names.

        Raises:
            ValueError: it names none.
        """
        task_id, _, run_id = name.rpartition("-")
        return cls.parse(f"{task_id}/{run_id}")

    @property
    def key(self) -> str:
        """``taskId/runId``, as Redis keys hold it."""
        return f"{self.task_id}/{self.run_id}"

    @property
    def directory(self) -> str:
        """``taskId-runId``, a safe file name and job id part."""
        return f"{self.task_id}-{self.run_id}"

    def __str__(self) -> str:
        return self.key
