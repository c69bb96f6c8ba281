"""One batch of a run's outbox: every entry that is not yet done with, several at a time."""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Final

from redis.exceptions import RedisError

from taskward.core.log import for_run
from taskward.core.outbox import Entry
from taskward.core.outcome import failed
from taskward.uploader.artifact import Description
from taskward.uploader.content import Body, FileBody, lost
from taskward.uploader.errors import ArtifactLost, ClaimLost
from taskward.uploader.gzipped import SpooledBody, collected
from taskward.uploader.manifest import Sent
from taskward.uploader.run import RunUpload

_UNRECORDED: Final = 10
_logger = logging.getLogger(__name__)

Result = tuple[str, Sent] | Exception | None
"""What became of an entry: its name and where it is; nothing when a thread has ended."""


@dataclass(frozen=True)
class Batch:
    """Entries of one outbox to be sent by this process."""

    upload: RunUpload
    outbox: Path
    entries: Iterable[tuple[int, Entry]]

    def send(self, threads: ThreadPoolExecutor, width: int, gives_way: Callable[[], bool] = lambda: False) -> bool:
        """Sends what the manifest does not know yet, `width` artifacts at once; whether nothing is left.

        Failures of artifacts end up in the run's outcome and notes; the others are sent all the same. Nothing is begun
        any more once `gives_way`, which each thread asks before each artifact.

        Raises:
            ClaimLost: the run is not ours any more, or the queue has resolved it; the rest was left.
        """
        done = self.upload.manifest.done((n, entry.name) for n, entry in self.entries)
        over, finished = threading.Event(), Queue[Result](_UNRECORDED)
        rest = deque((n, entry) for n, entry in self.entries if entry.name not in done)
        began = time.monotonic()
        for _ in range(width):
            threads.submit(self._work, rest, over, gives_way, finished)
        counts = self._record(finished, width)
        facts = {**counts, "left": len(rest), "took_s": round(time.monotonic() - began, 3)}
        for_run(_logger, self.upload.run).info("batch sent", extra=facts)
        if over.is_set():
            raise ClaimLost(f"run {self.upload.run}: the claim was lost, or the run resolved, during the upload")
        return not rest

    def _record(self, finished: "Queue[Result]", working: int) -> Counter[str]:
        """Writes down what the threads have done, all that is there at a time, while they go on; counts it.

        All of them have ended before an error lets the message be delivered again.
        """
        counts, errors = Counter[str](), list[Exception]()
        while working:
            results = [finished.get(), *(finished.get_nowait() for _ in range(finished.qsize()))]
            working -= results.count(None)
            done = [result for result in results if isinstance(result, tuple)]
            errors += [result for result in results if isinstance(result, Exception)]
            for _, sent in done:
                counts.update({sent.storage: 1, "size_bytes": sent.size_bytes})
            try:
                self.upload.manifest.record_all(done)
            except RedisError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return counts

    def _work(self, rest: deque[tuple[int, Entry]], over: threading.Event, gives_way: Callable[[], bool],
              finished: "Queue[Result]") -> None:  # fmt: skip
        """One thread's: artifact after artifact, and None at the end."""
        try:
            while not over.is_set() and not gives_way():
                number, entry = rest.popleft()
                finished.put(self._result(number, entry))
        except IndexError:
            pass  # nothing is left
        except ClaimLost:
            over.set()
        except Exception as error:  # noqa: BLE001 - raised by the thread that waits for it
            finished.put(error)
        finally:
            finished.put(None)

    def _result(self, number: int, entry: Entry) -> Result:
        try:
            return entry.name, self._send(number, entry)
        except ArtifactLost as loss:
            self.upload.lost(entry.name, loss, optional=entry.optional)
            return entry.name, Sent("none", number)

    def _send(self, number: int, entry: Entry) -> Sent:
        if entry.reason:
            return self._error(number, entry)
        if Path(entry.file).name != entry.file or entry.file.startswith("."):
            raise lost(Path(entry.file), "not a name in the outbox")
        return self.upload.content(_description(entry), lambda: self._body(entry), number)

    def _error(self, number: int, entry: Entry) -> Sent:
        self.upload.artifacts.error(entry.name, entry.reason, entry.message, entry.expires)
        if not entry.optional and not self.upload.has_failed():
            outcome = failed(f"{entry.reason}: {entry.message}")
            self.upload.notes.error(f"TASK FAILURE during artifact upload: {outcome.message}")
            self.upload.worsen(outcome)
        return Sent("error", number)

    def _body(self, entry: Entry) -> Body:
        path, objects, hashes = self.outbox / entry.file, self.upload.to_object_service, self.upload.hashes
        if entry.content_encoding == "identity" or objects:
            return FileBody(path, entry.size_bytes, hashes)
        return SpooledBody(self._while_wanted(collected(path, entry.size_bytes)), self.upload.spool_dir, hashes)

    def _while_wanted(self, pieces: Iterator[memoryview]) -> Iterator[memoryview]:
        """To compress a large file takes minutes in which the run may be canceled; others wait for this process.

        Raises:
            ClaimLost: the claim is over.
        """
        for piece in pieces:
            self.upload.claim.credentials()
            yield piece


def _description(entry: Entry) -> Description:
    return Description(entry.name, entry.content_type, entry.expires, entry.size_bytes, entry.content_encoding)
