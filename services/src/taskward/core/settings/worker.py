"""The worker as the queue knows it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskward.core.errors import ConfigurationError
from taskward.core.layout import Layout

_IDENTIFIER: Final = re.compile(r"[a-zA-Z0-9_-]{1,38}")
QUEUE_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,38}/[a-z]([-a-z0-9]{0,36}[a-z0-9])?")
"""``<provisionerId>/<workerType>``."""

_LONGEST_SOCKET_BYTES: Final = 100  # unix(7) has 107, and some sockets have longer names than the keyholder's


@dataclass(frozen=True)
class WorkerSettings:
    """[worker]: which queue, under which name, how much at once."""

    task_queue_id: str
    worker_group: str
    worker_id: str
    state_dir: Path
    capacity: int = 1
    max_run_time_s: int = 86_400
    grace_s: int = 60

    def __post_init__(self) -> None:
        if not QUEUE_ID.fullmatch(self.task_queue_id):
            raise ConfigurationError(
                "task_queue_id: must be <provisionerId>/<workerType>, each of at most 38 letters, digits, - and _ "
                f"(the workerType lower case), not {self.task_queue_id!r}"
            )
        for name in ("worker_group", "worker_id"):
            if not _IDENTIFIER.fullmatch(getattr(self, name)):
                raise ConfigurationError(f"{name}: must be 1 to 38 letters, digits, - and _, no dots")
        for name, low, high in (("capacity", 1, 255), ("max_run_time_s", 1, 86_400 * 7), ("grace_s", 1, 3600)):
            if not low <= getattr(self, name) <= high:
                raise ConfigurationError(f"{name}: must be {low} to {high}")
        if len(bytes(Layout(self.state_dir).keyholder_socket)) > _LONGEST_SOCKET_BYTES:
            raise ConfigurationError("state_dir: too long for Unix sockets; choose a shorter path")
