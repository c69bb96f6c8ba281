"""What a task's log says when the payload is bad, or when the process that ran the task has died."""

import json

from taskward.core.record import Record
from taskward.executor.engine import Remains
from taskward.executor.payload import PayloadRefused
from taskward.executor.tasklog import TaskLog
from taskward.executor.validation import schema


def tell_problems(log: TaskLog, refused: PayloadRefused) -> None:
    """Every problem, as the worker did whose payload it is: generic-worker says the schema, too."""
    if refused.dialect == "docker-worker":
        listed = json.dumps(refused.problems, indent=2, ensure_ascii=False)
        log.error(f"`task.payload` format is invalid json schema errors:\n{listed}")
        return
    log.error("Task payload for this worker type must conform to the following jsonschema:")
    log.error(json.dumps(schema(), indent=2))
    log.error("TASK FAIL since the task payload is invalid. See errors:")
    for problem in refused.problems:
        log.error(f"- {problem}")


def tell_death(log: TaskLog, record: Record, remains: Remains) -> None:
    """The death certificate: who died when, and what the machine knows of it."""
    log.error(f"The process that worked on this run died while the run was in phase '{record.phase}' ({record.owner}).")
    log.error(
        "All processes of the task were killed. The task is not run again here; the queue decides about another run."
    )
    if remains.oom_kills:
        log.error(f"Out of memory: the kernel killed {remains.oom_kills} of the task's processes.")
    if remains.memory_peak_bytes is not None:
        log.error(f"The most memory that the task used at once: {remains.memory_peak_bytes} bytes.")
