"""How long polls learn that there may be work."""

import threading


class WaitingRoom:
    """A counter that goes up with each announcement, and a place to wait for that."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        """How often something was announced; take it before looking for work."""
        return self._count

    def announce(self) -> None:
        """Wake everybody who waits."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, count: int, timeout_s: float) -> None:
        """Return when something was announced since ``count`` was taken, or at the timeout."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != count, timeout_s)
