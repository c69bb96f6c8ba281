"""``python -m taskward.executor --config FILE [--slots N]``: takes runs, each in a process of its own."""

import argparse
import gc
import logging
import os
import sys
from pathlib import Path
from typing import Final

from taskward.core import locks, log
from taskward.core.children import aside
from taskward.core.connection import connect
from taskward.core.errors import ConfigurationError
from taskward.core.forking import ForkingWorker
from taskward.core.jobs import EXECUTE
from taskward.core.metrics import Metrics
from taskward.core.record import Records
from taskward.core.safejob import Registry
from taskward.core.settings import Settings
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
    parser.add_argument("--slots", type=int, default=1, metavar="N", help="how many runs at once (default: 1)")
    arguments = parser.parse_args()
    log.configure("executor")
    try:
        settings = Settings.load(arguments.config)
    except ConfigurationError as error:
        _logger.error("configuration cannot be used", extra={"reason": str(error)})
        return _EX_CONFIG
    work(settings, arguments.slots)
    return 0


def work(settings: Settings, slots: int) -> None:
    """Takes jobs from the queue, `slots` at once; everything a job's process needs is loaded before it is forked."""
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
    sweep, abort_reasons = Sweep(settings, Records(redis)), AbortReasons(address)
    aside(sweep.start)

    def metrics(slot: int) -> Metrics:
        return Metrics.of_process("executor", settings.layout.state_dir, f"-{slot}" if slots > 1 else "")

    def execute(task_id: str, run_id: int) -> None:
        Executor(settings, redis, abort_reasons, metrics=metrics(worker.slot)).execute(task_id, run_id)

    registry = Registry(EXECUTE.name)
    registry.add("execute", execute, task_id=str, run_id=int)
    for slot in range(slots):
        metrics(slot)
    worker = ForkingWorker("executor", registry, redis, lock_dir, slots, errand=sweep.now_and_then, idle=metrics)
    worker.work()
    sweep.close()


def _preload(settings: Settings) -> None:
    """What a job process would otherwise read anew each time: schemas, the system's table of content types, modules."""
    problems({})
    content_type_of(".txt")
    if has_containers(settings):
        kind_of({"payload": {"image": ""}})
        problems({}, "docker-worker")
    gc.collect()
    gc.freeze()  # else each job's collector would write to all the pages that it shares


if __name__ == "__main__":
    sys.exit(main())
