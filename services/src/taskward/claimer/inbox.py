"""Runs that want the claimer's attention: told by the inbox list, and by a look at all active runs as the net."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from taskward.claimer.resolve import Resolver
from taskward.core import keys
from taskward.core.commands import Commands, text
from taskward.core.errors import Unreachable
from taskward.core.ids import RunId
from taskward.core.link import Refusal
from taskward.core.record import Records

WAIT_S: Final = 1
THREADS: Final = 8

_logger = logging.getLogger(__name__)


class Inbox:
    """Attends to one run at a time per run, to several runs at once."""

    def __init__(self, redis: Commands, records: Records, resolver: Resolver, freed: Callable[[], None]) -> None:
        self._redis, self._records, self._resolver, self._freed = redis, records, resolver, freed
        self._in_hand: set[tuple[RunId, bool]] = set()
        self._again: set[tuple[RunId, bool]] = set()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="attend")

    def serve(self, stop: threading.Event) -> None:
        """Until `stop`; what was not attended to is found again by the next life's look at the active runs."""
        self._look()
        while not stop.is_set():
            run = self._next()
            if run is None:
                self._look()
            else:
                self._take(run)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> RunId | None:
        """The run that was told of; None after a second, or when what was told names none: others write there, too."""
        try:
            popped = self._redis.blpop([keys.INBOX], WAIT_S)
            return RunId.parse(text(popped[1])) if popped else None
        except ValueError as error:
            _logger.error("the inbox names no run", extra={"error": str(error)})
        except Refusal as error:
            _logger.error("the inbox is no list; it is emptied", extra={"error": str(error)})
            self._redis.delete(keys.INBOX)
        return None

    def _look(self) -> None:
        for run in self._records.active():
            record = self._records.read(run)
            if record is None:
                _logger.error("no record of the run: it is left to the end of its claim", extra={"run": run.key})
                self._records.resolved(run)
            elif record.phase in ("uploaded", "resolving"):
                self._take(run)

    def _take(self, run: RunId) -> None:
        record = self._records.read(run)
        if record is None:
            return
        hand = (run, record.phase in ("uploaded", "resolving"))
        with self._lock:
            if hand in self._in_hand:
                self._again.add(hand)
                return
            self._in_hand.add(hand)
        self._pool.submit(self._attend, run, hand)

    def _attend(self, run: RunId, hand: tuple[RunId, bool]) -> None:
        try:
            if self._resolver.attend(run):
                self._freed()
        except Unreachable as error:
            _logger.warning("will try again", extra={"run": run.key, "error": str(error)})
        except Exception:  # the thread's last word: the next look tries again
            _logger.exception("attending to a run failed", extra={"run": run.key})
        finally:
            with self._lock:
                self._in_hand.discard(hand)
                asked_again = hand in self._again
                self._again.discard(hand)
            if asked_again:
                self._take(run)
