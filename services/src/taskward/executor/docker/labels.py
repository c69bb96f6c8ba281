"""How this worker's things at the daemon are told from everybody else's: by label, never by guess."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from taskward.core.ids import RunId

RUN: Final = "taskward.run"
WORKER: Final = "taskward.worker"
STATE: Final = "taskward.state"


def worker_id(state_dir: Path) -> str:
    """Unique for each worker of a host: 12 characters that follow from where its state lies."""
    return hashlib.sha256(bytes(state_dir)).hexdigest()[:12]


def of_worker(state_dir: Path) -> dict[str, str]:
    """On everything that outlives a run; people find its worker by the directory."""
    return {WORKER: worker_id(state_dir), STATE: str(state_dir)}


def of_run(state_dir: Path, run: RunId) -> dict[str, str]:
    """On everything that belongs to a run."""
    return {**of_worker(state_dir), RUN: run.key}


def container_name(state_dir: Path, run: RunId) -> str:
    """A run has one container, and any process finds it."""
    return f"taskward-{worker_id(state_dir)}-{run.directory}"


def run_of(labels: Mapping[str, str]) -> RunId | None:
    """The run that something belongs to; None where it belongs to none that we know how to read."""
    try:
        return RunId.parse(labels.get(RUN, ""))
    except ValueError:
        return None
