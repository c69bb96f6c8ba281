"""The log that stays, as docker-worker begins and ends it."""

import socket
import time
from importlib.metadata import version
from typing import Any

from taskward.executor.docker.tasklog import DockerLog
from taskward.executor.features.backing_log import BackingLog


class ContainerLog(BackingLog):
    """Starts before the payload is read, so what the payload says of caches is shown as it is written there."""

    name = "Backing Log"

    def start(self) -> None:
        """The head of the log."""
        task = self.task
        worker, told = task.settings.worker, task.settings.environment
        task.log.protect()
        lines = {
            "Task ID": task.run.task_id,
            "Worker ID": worker.worker_id,
            "Worker Group": worker.worker_group,
            "Worker Node Type": told.instance_type or task.settings.executor.instance_type,
            "Worker Pool": worker.task_queue_id,
            "Worker Version": version("taskward"),
            "Public IP": told.public_ip_address,
            "Hostname": socket.gethostname(),
        }
        for label, value in lines.items():
            task.log.info(f"{label}: {value}")
        for name, place in _caches(task.definition.get("payload")).items():
            task.log.info(f'using cache "{name}" -> {place}')
        if isinstance(task.log, DockerLog):
            task.log.plain("\r\n")

    def stop(self) -> None:
        """What was not told yet of the reasons, and how it ended; no line of the executor follows."""
        task, outcome = self.task, self.task.outcome
        succeeded = outcome is None or outcome.succeeded
        if outcome is not None and not succeeded and not self._is_told(outcome.message):
            task.log.error(outcome.message or outcome.reason)
        code = -1 if task.aborted or task.last_exit_code is None else task.last_exit_code
        if succeeded:
            code = 0  # the process that saw it may have died since
        elif code == 0:
            code = -1
        result = "Successful" if succeeded else "Unsuccessful"
        task.log.info(f"{result} task run with exit code: {code} completed in {self._seconds()} seconds")
        task.log.finish()

    def _is_told(self, message: str) -> bool:
        log = self.task.log
        by_exit_code = self.task.last_exit_code not in (None, 0) and message.startswith("exit code ")
        return by_exit_code or (isinstance(log, DockerLog) and log.has_told(message))

    def _seconds(self) -> float:
        """Since the log was made, perhaps by a process that has died."""
        return round(max(0.0, time.time() - self.task.log.path.parent.stat().st_mtime), 3)


def _caches(payload: Any) -> dict[str, str]:
    wanted = payload.get("cache") if isinstance(payload, dict) else None
    if not isinstance(wanted, dict):
        return {}
    return {name: place for name, place in wanted.items() if isinstance(place, str)}
