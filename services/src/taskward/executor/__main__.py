"""``python -m taskward.executor --config FILE``: one slot; the supervisor starts as many as the worker's capacity."""

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Final

from taskward.core import locks, log
from taskward.core.connection import connect
from taskward.core.errors import ConfigurationError
from taskward.core.jobs import EXECUTE
from taskward.core.metrics import Metrics
from taskward.core.record import Records
from taskward.core.safejob import Registry
from taskward.core.settings import Settings
from taskward.core.worker import ForkingWorker
from taskward.executor.content import content_type_of
from taskward.executor.docker.presence import has_containers
from taskward.executor.job import Executor
from taskward.executor.kind import kind_of
from taskward.executor.native import make_parent
from taskward.executor.sweep import Sweep
from taskward.executor.validation import problems
from taskward.executor.watch import AbortReasons

_EX_CONFIG: Final = 64
_UMASK: Final = 0o027

_logger = logging.getLogger(__name__)


def main() -> int:
    """Works until it is told to stop; 64 when the configuration cannot be used."""
    parser = argparse.ArgumentParser(prog="taskward.executor", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the worker's configuration file")
    log.configure("executor")
    try:
        settings = Settings.load(parser.parse_args().config)
    except ConfigurationError as error:
        _logger.error("configuration cannot be used", extra={"reason": str(error)})
        return _EX_CONFIG
    work(settings)
    return 0


def work(settings: Settings) -> None:
    """Takes jobs from the queue; everything a job process needs is loaded before it is forked."""
    os.umask(_UMASK)
    address = settings.redis("executor")
    redis = connect(address)
    _preload(settings)
    lock_dir = settings.layout.locks(EXECUTE.name)
    lock_dir.mkdir(parents=True, exist_ok=True)
    make_parent(settings.layout.tasks)
    locks.sweep(lock_dir)
    settings.layout.proofs.mkdir(exist_ok=True)
    locks.sweep(settings.layout.proofs)
    sweep = Sweep(settings, Records(redis))
    sweep.relieve()
    sweep.run()
    registry = Registry(EXECUTE.name)
    metrics = Metrics.of_process("executor", settings.layout.state_dir)
    executor = Executor(settings, redis, AbortReasons(address), metrics=metrics)
    registry.add("execute", executor.execute, task_id=str, run_id=int)
    ForkingWorker("executor", registry, redis, lock_dir, sweep.run_now_and_then).work()
    sweep.close()


def _preload(settings: Settings) -> None:
    """What a job process would otherwise read anew each time: schemas, the system's table of content types, modules."""
    problems({})
    content_type_of(".txt")
    if has_containers(settings):
        kind_of({"payload": {"image": ""}})
        problems({}, "docker-worker")


if __name__ == "__main__":
    sys.exit(main())
