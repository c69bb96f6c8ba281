"""Lines that the uploader adds to the end of a run's log, in generic-worker's words."""

import logging

from redis import Redis

from taskward.core import keys
from taskward.core.connection import text
from taskward.core.ids import RunId
from taskward.core.log import for_run

_logger = logging.getLogger(__name__)
ERROR = "[taskcluster:error] "


class Notes:
    """The notes of one run, in Redis; each line once, however often the step that wrote it is repeated."""

    def __init__(self, redis: Redis, run: RunId) -> None:
        self._redis, self._key, self._run = redis, keys.notes(run.key), run

    def error(self, message: str) -> None:
        """One error line (per line of `message`), for the task's log and the worker's.

        A message may quote the name of a file, whose bytes need not be text.
        """
        message = message.encode(errors="replace").decode()
        for_run(_logger, self._run).warning(message)
        known = set(self.read())
        for line in message.splitlines():
            if ERROR + line not in known:
                self._redis.rpush(self._key, ERROR + line)

    def read(self) -> list[str]:
        """All lines so far, without line ends."""
        return [text(line) for line in self._redis.lrange(self._key, 0, -1)]
