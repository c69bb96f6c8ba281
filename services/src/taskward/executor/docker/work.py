"""Runs the container of a task, with the lines that docker-worker writes around its output."""

from typing import Final

from taskward.core.outcome import Outcome, exception, failed
from taskward.executor.docker import engine
from taskward.executor.docker.environment import environment
from taskward.executor.engine import Ended, Process, Program
from taskward.executor.errors import CommandNotStarted, EngineFailed, TaskEnded
from taskward.executor.task import Task
from taskward.executor.watch import TIMED_OUT, WORKER_SHUTDOWN, Watch

_CANCELED: Final = (
    "Task was canceled by another entity. This can happen using a taskcluster client or by cancelling a task within "
    "Treeherder."
)


def work(task: Task, watch: Watch) -> None:
    """From start to end.

    Raises:
        TaskEnded: it failed, or the run must stop.
    """
    task.log.info("=== Task Starting ===")
    try:
        process = _start(task)
        try:
            watch.wait({process.fileno()})
        except TaskEnded as end:
            task.aborted = True
            stopped = _in_docker_workers_words(task, end.outcome)
            task.log.error(stopped.message)
            raise TaskEnded(stopped) from end
        finally:
            task.engine.kill()
    finally:
        task.log.info("=== Task Finished ===")
        for name, value in task.used().items():
            task.log.info(f"{name}: {value}")
    ended = process.ended()
    if ended is None:
        raise EngineFailed("nobody knows how the container ended")
    if outcome := _judge(task, ended):
        raise TaskEnded(outcome)


def _start(task: Task) -> Process:
    request = task.payload.docker
    group = str(task.definition.get("taskGroupId", task.run.task_id))
    offered = {**engine.of(task.engine).outfit.environment, **task.environment}
    variables = environment(task.run, group, task.settings, task.payload.env, offered)
    try:
        return task.engine.start(Program(request.command if request else (), variables), task.log.fd)
    except CommandNotStarted as error:
        text = f"Failure to properly start execution environment.\n{error}"
        task.log.error(text)
        raise TaskEnded(failed(text)) from error


def _judge(task: Task, ended: Ended) -> Outcome | None:
    task.last_exit_code = ended.exit_code
    shortage = _shortage(task)
    if ended.exit_code == 0:
        if shortage:
            task.log.warn(shortage)
        return None
    if shortage:
        task.log.error(shortage)
    if ended.exit_code in task.payload.retry_codes:
        text = f"exit code {ended.exit_code} is in task.payload.onExitStatus.retry"
        return exception("intermittent-task", text)
    return failed(f"exit code {ended.exit_code}: {shortage}" if shortage else f"exit code {ended.exit_code}")


def _shortage(task: Task) -> str:
    """Of memory, whatever the task has made of it; empty where the kernel killed nothing."""
    remains = task.engine.remains()
    if not remains.oom_kills:
        return ""
    peak = f", at most {remains.memory_peak_bytes} bytes were in use" if remains.memory_peak_bytes else ""
    return f"Out of memory: the kernel killed {remains.oom_kills} of the task's processes{peak}"


def _in_docker_workers_words(task: Task, outcome: Outcome) -> Outcome:
    if outcome.message == TIMED_OUT:
        return failed(f"Task timeout after {task.payload.max_run_time_s} seconds. Force killing container.")
    if outcome.unreported and outcome.reason == "canceled":
        return Outcome(outcome.state, outcome.reason, _CANCELED, unreported=True)
    if outcome.reason == WORKER_SHUTDOWN:
        return exception(WORKER_SHUTDOWN, f"Task has been aborted prematurely. Reason: {WORKER_SHUTDOWN}")
    return outcome
