"""``python -m taskward.claimer --config FILE``: claim, keep, resolve, reap.

SIGTERM: no new claims; runs that no executor will take are given back to the queue (`worker-shutdown`), the others are
waited for, up to the grace time. What is left then is found again at the next start.
"""

import argparse
import json
import logging
import signal
import sys
import threading
import time
from pathlib import Path

from taskward.claimer.claim import Claims, claim_for_ever, leave_when_draining
from taskward.claimer.inbox import Inbox
from taskward.claimer.keep import Keeper, keep_for_ever
from taskward.claimer.reaper import Reaper, Watch, reap_for_ever
from taskward.claimer.resolve import Resolver
from taskward.claimer.slots import Slots
from taskward.core import log
from taskward.core.clock import utc_now
from taskward.core.errors import ConfigurationError
from taskward.core.jobs import EXECUTE, QUEUES
from taskward.core.linked import Linked
from taskward.core.locks import available
from taskward.core.metrics import Metrics
from taskward.core.outcome import exception
from taskward.core.record import Records
from taskward.core.settings import Settings
from taskward.core.taskcluster import Credentials, Taskcluster

_logger = logging.getLogger("taskward.claimer")


def worker_credentials(settings: Settings) -> Credentials:
    """The worker's own credentials.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    wanted = settings.taskcluster
    try:
        token = wanted.access_token_file.read_text().strip()
        certificate = wanted.certificate_file.read_text().strip() if wanted.certificate_file else ""
    except OSError as error:
        raise ConfigurationError(f"[taskcluster] access_token_file: {error.filename}: {error.strerror}") from error
    if certificate:
        json.loads(certificate)
    return Credentials(wanted.client_id, token, certificate)


class Claimer:
    """The threads of the process and what they share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stopping, self.ended, self.wake = threading.Event(), threading.Event(), threading.Event()
        redis = Linked(settings.redis("claimer"))
        metrics = Metrics.of_process("claimer", settings.layout.state_dir)
        self.records = Records(redis)
        wanted = settings.taskcluster
        taskcluster = Taskcluster(
            wanted.root_url, timeout_s=wanted.timeout_s, give_up_after_s=wanted.give_up_after_s,
            ca_file=str(wanted.ca_file) if wanted.ca_file else None, stop=self.ended,
        )  # fmt: skip
        credentials = worker_credentials(settings)
        slots = Slots(redis, self.records, settings.layout, settings.worker.capacity)
        self._claims = Claims(taskcluster, credentials, settings.worker, self.records, metrics)
        keeper = Keeper(taskcluster, credentials, self.records, settings.claimer, utc_now, metrics)
        resolver = Resolver(taskcluster, self.records, settings.layout.proofs, metrics, self._leave_the_queue)
        inbox = Inbox(redis, self.records, resolver, self.wake.set)
        locks = {queue: settings.layout.locks(queue.name) for queue in QUEUES}
        self._threads = [
            threading.Thread(target=self._guard, args=work, daemon=True)
            for work in (
                (claim_for_ever, self._claims, slots.free, self.stopping, self.wake),
                (leave_when_draining, self._claims, slots, self.ended),
                (keep_for_ever, keeper, self.ended),
                (inbox.serve, self.ended),
                (reap_for_ever, Reaper(redis, locks, metrics), Watch(locks.values()), self.ended),
            )
        ]
        self._failed = False

    def run(self) -> int:
        """Until SIGTERM and the end of what is under way; 1 when a thread failed (the supervisor starts us again)."""
        for thread in self._threads:
            thread.start()
        self.stopping.wait()
        self._claims.hang_up()
        _logger.info("no more claims", extra={"active": len(self.records.active())})
        deadline = time.monotonic() + self.settings.worker.grace_s
        while self.records.active() and time.monotonic() < deadline and not self._failed:
            self._give_back()
            self.ended.wait(0.1)
        self.ended.set()
        return int(self._failed)

    def _leave_the_queue(self) -> None:
        """Else a slot that was free got the next run of a task that ends here since the worker does."""
        if not available(self.settings.layout.locks(EXECUTE.name)):
            self._claims.hang_up()

    def _give_back(self) -> None:
        """Runs that nobody will start go back to the queue at once."""
        if available(self.settings.layout.locks(EXECUTE.name)):
            return
        for run in self.records.active():
            self.records.end(run, ("claimed",), exception("worker-shutdown", "the worker is shutting down"))

    def _guard(self, target: object, *args: object) -> None:
        try:
            target(*args)  # type: ignore[operator]  # each row of the table above fits its own target
        except Exception:
            _logger.exception("a thread failed; the claimer starts anew")
            self._failed = True
            self.stopping.set()


def main() -> int:
    """Exit codes: 0 stopped in order, 1 start me again, 64 configuration."""
    parser = argparse.ArgumentParser(prog="taskward.claimer", description=__doc__)
    parser.add_argument("--config", required=True, type=Path)
    arguments = parser.parse_args()
    log.configure("claimer")
    try:
        claimer = Claimer(Settings.load(arguments.config))
    except ConfigurationError as error:
        print(f"taskward.claimer: {error}", file=sys.stderr)  # noqa: T201 - before there is a log reader
        return 64
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda *_: claimer.stopping.set())
    return claimer.run()


if __name__ == "__main__":
    sys.exit(main())
