"""Every message of the queue, on one page.

=========  ======================  ==============================  ====================================================
queue      job id                  function and arguments          what it asks for
=========  ======================  ==============================  ====================================================
execute    ``x-<task>-<run>``      execute(task_id, run_id)        run the task, collect, fan out
upload     ``u-<task>-<run>-<n>``  upload(task_id, run_id, batch)  send batch n of the run's outbox
upload     ``u-<task>-<run>-now``  publish(task_id, run_id)        send the artifact of a run that is not over yet
upload     ``u-<task>-<run>-end``  finish(task_id, run_id)         certify, send the log, hand over to the claimer
=========  ======================  ==============================  ====================================================

A message names things and carries none; it may be delivered twice. It is written into Redis in RQ's own form (so that
any RQ tool can show it) by the functions of `functions.lua`, and read back by `safejob.SafeJob`, which refuses every
other form.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from taskward.core.ids import RunId

QUEUES_KEY: Final = "rq:queues"
RETRIES: Final = 3
FAILED_KEEP_S: Final = 86_400


@dataclass(frozen=True)
class Queue:
    """A queue of RQ and the prefix of its job ids; the ACL keeps roles apart by that prefix."""

    name: str
    prefix: str

    @property
    def key(self) -> str:
        """The list of waiting job ids."""
        return f"rq:queue:{self.name}"

    @property
    def keys(self) -> tuple[str, str]:
        """What a Redis function needs to put a job: the queue and the set of queues."""
        return self.key, QUEUES_KEY


EXECUTE: Final = Queue("execute", "x")
UPLOAD: Final = Queue("upload", "u")
QUEUES: Final = (EXECUTE, UPLOAD)


@dataclass(frozen=True)
class Job:
    """One message: a function by its plain name and its keyword arguments."""

    queue: Queue
    id: str
    function: str
    arguments: Mapping[str, str | int]

    @classmethod
    def execute(cls, run: RunId) -> Self:
        """Run the task."""
        return cls(EXECUTE, f"x-{run.directory}", "execute", _arguments(run))

    @classmethod
    def upload(cls, run: RunId, batch: int) -> Self:
        """Send one batch of the outbox."""
        return cls(UPLOAD, f"u-{run.directory}-{batch}", "upload", {**_arguments(run), "batch": batch})

    @classmethod
    def publish(cls, run: RunId) -> Self:
        """Send what is to be published while the run goes on."""
        return cls(UPLOAD, f"u-{run.directory}-now", "publish", _arguments(run))

    @classmethod
    def finish(cls, run: RunId) -> Self:
        """Certify, send the log, hand the run to the claimer."""
        return cls(UPLOAD, f"u-{run.directory}-end", "finish", _arguments(run))

    @property
    def key(self) -> str:
        """The hash that holds the job."""
        return f"rq:job:{self.id}"

    @property
    def keys(self) -> tuple[str, str, str]:
        """What a Redis function needs to put this job."""
        return self.key, *self.queue.keys

    def fields(self) -> Sequence[str | bytes]:
        """Field, value, … of the job's hash, always the same number of them (RQ 3.0's format)."""
        data = json.dumps([self.function, None, [], dict(self.arguments)], separators=(",", ":")).encode()
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        fields: dict[str, str | bytes] = {
            "created_at": at, "enqueued_at": at, "data": zlib.compress(data), "origin": self.queue.name,
            "description": self.function, "timeout": "-1", "result_ttl": "0", "failure_ttl": str(FAILED_KEEP_S),
            "status": "queued", "retries_left": str(RETRIES),
        }  # fmt: skip
        return [part for pair in fields.items() for part in pair]


def _arguments(run: RunId) -> dict[str, str | int]:
    return {"task_id": run.task_id, "run_id": run.run_id}
