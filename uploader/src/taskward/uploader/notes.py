"""Lines that the uploader adds to the end of a run's log, in generic-worker's words."""

import logging
from typing import Final

from redis import Redis

from taskward.core import keys
from taskward.core.commands import text
from taskward.core.ids import RunId
from taskward.core.log import for_run

_logger = logging.getLogger(__name__)
ERROR: Final = "[taskcluster:error] "
MOST_LINES: Final = 500
_LONGEST: Final = 2000
_MORE: Final = f"{ERROR}... and more; the worker's own log has them all"


class Notes:
    """The notes of one run, in Redis; each line once, however often the step that wrote it is repeated.

    No more than `MOST_LINES` and one that says so: each artifact of very many could have its own.
    """

    def __init__(self, redis: Redis, run: RunId) -> None:
        self._redis, self._key, self._run = redis, keys.notes(run.key), run

    def error(self, message: str) -> None:
        """One error line (per line of `message`), for the task's log and the worker's.

        A message may quote the name of a file, whose bytes need not be text.
        """
        message = message.encode(errors="replace").decode()
        for_run(_logger, self._run).warning(message)
        known = self.read()
        lines = dict.fromkeys(ERROR + line[:_LONGEST] for line in message.splitlines())
        new = [line for line in lines if line not in known]
        room = MOST_LINES - len(known)
        if new and room >= 0:
            self._redis.rpush(self._key, *(new if len(new) <= room else [*new[:room], _MORE]))

    def read(self) -> list[str]:
        """All lines so far, without line ends."""
        return [text(line) for line in self._redis.lrange(self._key, 0, -1)]
