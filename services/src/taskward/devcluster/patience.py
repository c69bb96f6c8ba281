"""A gunicorn worker whose threads wait a moment for a connection's next request."""

import select
from typing import Any, Final

from gunicorn.workers.gthread import ThreadWorker

_PATIENCE_MS: Final = 50


class PatientWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Stays with a connection while its client goes on asking.

    gunicorn itself hands a connection back to its main thread after each answer, which costs as much as answering a
    small call does. Here it does so only when the client pauses, or when there are more connections than threads: then
    a thread that waits would keep another connection waiting.
    """

    def handle(self, conn: Any) -> Any:
        """Answer the requests of a connection until it pauses; returns what gunicorn's own does for the last one."""
        while (answered := super().handle(conn)) is True and self._asks_again(conn):
            pass
        return answered

    def _asks_again(self, conn: Any) -> bool:
        if not self.alive or self.nr_conns > self.cfg.threads:
            return False
        if conn.parser.unreader.buf.getvalue():
            return True
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        return bool(poll.poll(_PATIENCE_MS))
