"""Tasks with writable caches."""

from pathlib import Path
from typing import Any

from executor.bench import Bench, Result, shell
from taskward.core.ids import RunId

SCOPES = ["generic-worker:cache:*"]
COUNT = "echo x >> c/count; wc -l < c/count"


def cache(name: str = "one", directory: str = "c", **more: Any) -> dict[str, Any]:
    return {"cacheName": name, "directory": directory, **more}


def payload(script: str, *mounts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"command": shell(script), "maxRunTime": 20, "mounts": list(mounts) or [cache()], **more}


def run(bench: Bench, script: str, *mounts: dict[str, Any], **more: Any) -> Result:
    return bench.run_payload(payload(script, *mounts, **more), scopes=SCOPES)


def start(bench: Bench, script: str, *mounts: dict[str, Any]) -> tuple[RunId, Any]:
    """A task that has printed ``up`` and goes on."""
    claimed = bench.claim(payload(f"{script}; echo up; sleep 100", *mounts), scopes=SCOPES)
    job = bench.start(claimed)
    bench.wait_until(lambda: bench.has_log(claimed) and "up" in bench.result(claimed).output)
    return claimed, job


def kept(bench: Bench) -> list[Path]:
    return [path for path in (bench.state_dir / "caches").glob("*/item.json") if "trash" not in path.parent.name]
