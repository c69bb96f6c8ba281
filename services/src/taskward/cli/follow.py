"""Follows a run from outside, as anybody could: its state from the queue, its log from the artifact."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import requests
import urllib3

from taskward.cli.decoding import ACCEPTED, PIECE_BYTES, BrokenEncoding, decoded
from taskward.cli.insistence import SILENT, Insistence

LIVE_LOG: Final = "public/logs/live.log"
BACKING_LOG: Final = "public/logs/live_backing.log"
"""Where the log is, too, once the run is resolved; the only place when the task never started."""

_CHUNK_BYTES: Final = 64 << 10
_TIMEOUT_S: Final = (10, 60)
_FIRST_POLL_S: Final = 0.1
_LONGEST_POLL_S: Final = 2.0
_PAUSES_S: Final = (0.0, 0.1, 1.0, 5.0)


@dataclass(frozen=True)
class RunState:
    """A run as the queue tells it; `run_id` is None before the first."""

    run_id: int | None
    state: str
    reason: str
    worker: str

    @property
    def resolved(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("completed", "failed", "exception")


def state_of(status: Any) -> RunState:
    """The last run of a task status."""
    runs = status.get("runs") or []
    if not runs:
        return RunState(None, status["state"], "", "")
    last = runs[-1]
    worker = f"{last['workerGroup']}/{last['workerId']}" if last.get("workerId") else ""
    return RunState(last["runId"], last["state"], last.get("reasonResolved", ""), worker)


class LogFollower:
    """The log of one task, each byte once; where the connection breaks it goes on from there.

    `queue` is a client of the `taskcluster` package; `insistence` asks it.
    """

    def __init__(self, queue: Any, task_id: str, insistence: Insistence = SILENT) -> None:
        self._queue, self._task_id, self._insistence = queue, task_id, insistence
        self._session = requests.Session()
        self._run_id: int | None = None
        self._offset = 0

    def events(self) -> Iterator[RunState | bytes]:
        """Each new state of the last run, and the bytes of its log in between; ends with the final state.

        A run that is retried by the queue is followed from its beginning. Raises what the `taskcluster` package raises
        when the queue does not answer for long.
        """
        shown: RunState | None = None
        pause_s = _FIRST_POLL_S
        while True:
            state = state_of(self._insistence.ask(lambda: self._queue.status(self._task_id))["status"])
            if state != shown:
                yield state
                shown, pause_s = state, _FIRST_POLL_S
            if state.run_id != self._run_id:
                self._run_id, self._offset = state.run_id, 0
            if state.state == "running":
                yield from self._more(LIVE_LOG)
            if state.resolved:
                yield from self._rest()
                return
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.3, _LONGEST_POLL_S)

    def _rest(self) -> Iterator[bytes]:
        """The end of the log of a run that is resolved."""
        for pause_s in _PAUSES_S:
            time.sleep(pause_s)
            if (yield from self._more(BACKING_LOG, resolved=True)):
                return
        self._insistence.tell("the end of the log cannot be had")

    def _more(self, name: str, *, resolved: bool = False) -> Generator[bytes, None, bool]:
        """What the log has beyond what was seen; while the task runs this lasts as long as the connection.

        Returns whether it is no use to try again.
        """
        try:
            with self._open(name, resolved) as answer:
                skip = self._offset if answer.status_code == requests.codes.ok else 0
                if answer.status_code not in (requests.codes.ok, requests.codes.partial_content):
                    return bool(answer.status_code < requests.codes.server_error)
                for chunk in _pieces(answer):
                    fresh = chunk[skip:]
                    skip = max(0, skip - len(chunk))
                    self._offset += len(fresh)
                    if fresh:
                        yield fresh
        except (requests.RequestException, urllib3.exceptions.HTTPError):
            return False
        return True

    def _open(self, name: str, resolved: bool) -> requests.Response:
        url = self._queue.buildUrl("getArtifact", self._task_id, str(self._run_id), name)
        headers = {} if resolved else {"Range": f"bytes={self._offset}-"}
        return self._session.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S)


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    """The decoded body as it comes, never waiting for a piece to be full."""
    while chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=True):
        yield chunk


def download(queue: Any, task_id: str, run_id: int, name: str, write: Callable[[bytes], object]) -> int:
    """Hands an artifact's content to `write` piece by piece, decoded as its content encoding says; returns its size.

    Raises:
        requests.RequestException: it cannot be had whole.
    """
    url = queue.buildUrl("getArtifact", task_id, str(run_id), name)
    if not name.startswith("public/"):
        url = queue.buildSignedUrl("getArtifact", task_id, str(run_id), name)
    size_bytes = 0
    with requests.get(url, headers={"Accept-Encoding": ACCEPTED}, stream=True, timeout=_TIMEOUT_S) as answer:
        answer.raise_for_status()
        pieces = answer.raw.stream(PIECE_BYTES, decode_content=False)
        try:
            for chunk in decoded(pieces, answer.headers.get("Content-Encoding", "")):
                write(chunk)
                size_bytes += len(chunk)
        except (BrokenEncoding, urllib3.exceptions.HTTPError) as error:
            raise requests.RequestException(str(error)) from error
    return size_bytes
