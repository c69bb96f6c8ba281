"""``python -m taskward.uploader --config FILE``: one uploader process; start as many as you like."""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any, Final

from rq import Retry

from taskward.core import locks, log
from taskward.core.errors import ConfigurationError
from taskward.core.jobs import UPLOAD
from taskward.core.safejob import Registry
from taskward.core.settings import Settings
from taskward.core.worker import InProcessWorker
from taskward.uploader.service import Service

EXIT_CONFIGURATION: Final = 64
_FOR_EVER: Final = 1 << 30
_logger = logging.getLogger(__name__)


def registry(service: Service) -> Registry:
    """What messages of the queue may call."""

    def upload(task_id: str, run_id: int, batch: int) -> Any:
        """What is left goes to the end of the queue."""
        return None if service.upload(task_id, run_id, batch) else Retry(max=_FOR_EVER)

    def finish(task_id: str, run_id: int) -> Any:
        """A run that waits for the signer goes to the end of the queue: others need not wait with it."""
        return None if service.finish(task_id, run_id) else Retry(max=_FOR_EVER)

    listed = Registry(UPLOAD.name)
    listed.add("upload", upload, task_id=str, run_id=int, batch=int)
    listed.add("publish", service.publish, task_id=str, run_id=int)
    listed.add("finish", finish, task_id=str, run_id=int)
    return listed


def main() -> int:
    """Works until SIGTERM; the message at hand is finished first. Exit code 64: the configuration cannot be used."""
    parser = argparse.ArgumentParser(prog="taskward-uploader", description="Uploads the artifacts of finished tasks.")
    parser.add_argument("--config", type=Path, required=True, help="the worker's TOML file")
    arguments = parser.parse_args()
    log.configure("uploader")
    try:
        worker = _worker(Settings.load(arguments.config))
    except (ConfigurationError, OSError) as error:
        _logger.error(f"cannot start: {error}")
        return EXIT_CONFIGURATION
    worker.work()
    return 0


def _worker(settings: Settings) -> InProcessWorker:
    service, lock_dir = Service.open(settings), settings.layout.locks(UPLOAD.name)
    locks.sweep(lock_dir)
    return InProcessWorker("uploader", registry(service), service.redis, lock_dir)


if __name__ == "__main__":
    sys.exit(main())
