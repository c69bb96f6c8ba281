"""The logs that are followed, each looked at once however many readers wait for it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from taskward.gateway.errors import LogRefused
from taskward.gateway.logfile import LogFile
from taskward.gateway.reader import Reader

BUSY_INTERVAL_S: Final = 0.02
QUIET_INTERVAL_S: Final = 0.05


@dataclass(eq=False)
class SharedLog:
    """A log and the readers that wait for it to change.

    `broken` is a drop reason of the metrics (``refused``, ``failed``) once the log cannot be served any more.
    """

    parts: tuple[str, ...]
    log: LogFile
    users: int = 0
    waiting: set[Reader] = field(default_factory=set)
    broken: str | None = None

    def look(self) -> bool:
        """Look at the file; whether anything changed for those who wait."""
        before = (self.log.size_bytes, self.log.finished)
        try:
            self.log.refresh()
        except LogRefused:
            self.broken = "refused"
        except OSError:
            self.broken = "failed"
        return self.broken is not None or before != (self.log.size_bytes, self.log.finished)


class Watch:
    """All followed logs. Belongs to one thread.

    Polling, not inotify: two system calls per log and interval cost the same whether a task prints one line a minute
    or a million a second, where inotify would wake this thread for each write; and it sees files on every file system.
    """

    def __init__(self, logs_dir: Path) -> None:
        self._logs_dir = logs_dir
        self._logs: dict[tuple[str, ...], SharedLog] = {}
        self._interval_s = BUSY_INTERVAL_S
        self._next_look_s = 0.0

    def __len__(self) -> int:
        return len(self._logs)

    def enter(self, parts: tuple[str, ...]) -> SharedLog:
        """The log at `parts`, for one more reader; each `enter` needs a `leave`."""
        shared = self._logs.get(parts)
        if shared is None:
            shared = self._logs[parts] = SharedLog(parts, LogFile(self._logs_dir, parts))
            shared.look()
        shared.users += 1
        return shared

    def leave(self, shared: SharedLog, reader: Reader) -> None:
        """Forget `reader`; the log is closed after its last one."""
        shared.waiting.discard(reader)
        shared.users -= 1
        if not shared.users:
            shared.log.close()
            del self._logs[shared.parts]

    def pause_s(self, now_s: float) -> float | None:
        """How long until the next look is due; None while no reader waits."""
        if any(shared.waiting for shared in self._logs.values()):
            return max(0.0, self._next_look_s - now_s)
        return None

    def changed(self, now_s: float) -> list[SharedLog]:
        """When a look is due: the logs whose waiting readers may go on, or must be told that they are broken."""
        if now_s < self._next_look_s:
            return []
        changed = [shared for shared in self._logs.values() if shared.waiting and shared.look()]
        self._interval_s = BUSY_INTERVAL_S if changed else min(self._interval_s * 1.25, QUIET_INTERVAL_S)
        self._next_look_s = now_s + self._interval_s
        return changed
