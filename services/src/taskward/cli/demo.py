"""``python -m taskward.cli.demo``: a development Taskcluster, a worker, and one task all the way through.

Exit code 0 only if everything held: the live log came while the task ran, every artifact is there with the right bytes,
the call through the proxy was answered, the signatures verify offline, and nothing is left running.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from taskward.cli import artifacts, taskfile
from taskward.cli.accounts import missing_isolation
from taskward.cli.devworker import TASK_QUEUE_ID, Access, DevWorker
from taskward.cli.errors import CommandError
from taskward.cli.follow import LogFollower, RunState
from taskward.cli.output import colour
from taskward.cli.publickeys import SigningKeys
from taskward.cli.verify import VerificationReport, verify_directory

T = TypeVar("T")

_SCRIPT: Final = """\
set -e
echo "Hello from $(id -un), task $TASK_ID run $RUN_ID"
for step in 1 2 3; do echo "step $step of 3"; sleep 0.4; done
mkdir -p build/reports
printf 'built by taskward\\n' > build/product.txt
for n in 1 2 3; do seq $n 100 > build/reports/$n.txt; done
echo "asking the queue about this task, through the proxy, without any credential:"
curl --silent --show-error --fail --max-time 20 \\
  "$TASKCLUSTER_PROXY_URL/api/queue/v1/task/$TASK_ID" | grep --only-matching '"owner": *"[^"]*"'
"""

PAYLOAD: Final[Mapping[str, Any]] = {
    "command": [["/bin/sh", "-c", _SCRIPT]],
    "maxRunTime": 60,
    "features": {"chainOfTrust": True, "taskclusterProxy": True},
    "artifacts": [
        {"type": "file", "name": "public/product.txt", "path": "build/product.txt"},
        {"type": "directory", "name": "public/reports", "path": "build/reports"},
    ],
}
EXPECTED: Final = {
    "public/product.txt": b"built by taskward\n",
    **{f"public/reports/{first}.txt": "".join(f"{n}\n" for n in range(first, 101)).encode() for first in (1, 2, 3)},
}
SIGNED: Final = ("public/chainOfTrust.json.asc", "public/chain-of-trust.json", "public/chain-of-trust.json.sig")


@dataclass
class Demo:
    """What happened so far: how long each step took, and what did not hold."""

    timings: list[tuple[str, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def step(self, name: str, work: Callable[[], T]) -> T:
        """Does `work`, says so, keeps the time."""
        click.secho(f"\n== {name}", bold=True)
        began = time.monotonic()
        try:
            return work()
        finally:
            self.timings.append((name, time.monotonic() - began))

    def require(self, holds: bool, text: str) -> None:
        """Notes a promise, kept or broken."""
        click.secho(f"  {'ok  ' if holds else 'FAIL'} {text}", fg="green" if holds else "red")
        if not holds:
            self.failures.append(text)

    def summary(self) -> int:
        """Prints it all; the exit code."""
        click.secho("\n== Summary", bold=True)
        for name, seconds in self.timings:
            click.echo(f"  {seconds:6.2f} s  {name}")
        for text in self.failures:
            click.secho(f"  FAIL {text}", fg="red")
        click.secho("demo: everything held" if not self.failures else "demo: FAILED", bold=True)
        return int(bool(self.failures))


def main() -> int:
    """The whole demonstration in a directory of its own, which is removed when all went well."""
    for text in missing_isolation():
        click.secho(f"note: not run by root: {text}", fg="yellow")
    home = Path(tempfile.mkdtemp(prefix="tw", dir="/var/tmp"))
    home.chmod(0o755)
    demo, worker = Demo(), DevWorker(home / "w")
    try:
        started = demo.step("Start a development Taskcluster and the worker", worker.start)
        click.echo("  " + ", ".join(f"{process.name} {process.pid}" for process in started))
        _task(demo, worker, home)
    except CommandError as error:
        demo.require(False, error.message)
    except Exception as error:  # noqa: BLE001 - whatever it is, the demo has failed and the worker must be stopped
        demo.require(False, f"{type(error).__name__}: {error}")
    finally:
        demo.step("Stop", worker.stop)
    code = demo.summary()
    if code:
        click.echo(f"its state is kept: {home}", err=True)
    else:
        shutil.rmtree(home, ignore_errors=True)
    return code


def _task(demo: Demo, worker: DevWorker, home: Path) -> None:
    import slugid
    import taskcluster

    queue = taskcluster.Queue(Access.read(worker.state_dir).options)
    task_id = str(slugid.nice())
    definition = taskfile.complete(PAYLOAD, TASK_QUEUE_ID, "taskward demo", datetime.now(UTC))
    state, log, live = demo.step("Create a task and follow its log", lambda: _follow(queue, task_id, definition))
    demo.require(state.state == "completed", f"task {task_id} is {state.state} ({state.reason or state.worker})")
    demo.require(live, "the log came while the task was running")
    demo.require(b"step 3 of 3" in log, "the log holds what the task printed")
    demo.require(b"nobody@example.com" in log, "the queue answered the task through the proxy")
    if state.run_id is None:
        return
    target = home / "artifacts"
    demo.step("List and download the artifacts", lambda: _download(queue, task_id, state.run_id or 0, target))
    for name, content in EXPECTED.items():
        demo.require(
            (target / name).is_file() and (target / name).read_bytes() == content, f"{name} has the right bytes"
        )
    for name in SIGNED:
        demo.require((target / name).is_file(), f"{name} is there")
    report = demo.step("Verify the signatures offline", lambda: _verify(worker.state_dir, target, task_id))
    for check in report.checks:
        click.echo(f"  {check.subject}: {check.message}")
    demo.require(report.ok, "every signature and every digest is good")


def _follow(queue: Any, task_id: str, definition: Mapping[str, Any]) -> tuple[RunState, bytes, bool]:
    """The final state, the whole log, and whether some of the log came before the end."""
    queue.createTask(task_id, definition)
    state, log, live = RunState(None, "unscheduled", "", ""), b"", False
    for event in LogFollower(queue, task_id).events():
        if isinstance(event, bytes):
            live = live or not state.resolved
            log += event
            sys.stdout.write(event.decode(errors="replace"))
            sys.stdout.flush()
        else:
            state = event
            click.secho(f"  -- run {state.run_id}: {state.state}", fg="cyan")
    return state, log, live


def _download(queue: Any, task_id: str, run_id: int, target: Path) -> None:
    for each in artifacts.listed(queue, task_id, run_id):
        size = (
            artifacts.fetch(queue, task_id, run_id, each.name, target)
            if each.storage_type in artifacts.DOWNLOADED
            else 0
        )
        click.echo(f"  {each.storage_type:<10}{size:>8} bytes  {each.name}")


def _verify(state_dir: Path, target: Path, task_id: str) -> VerificationReport:
    keys = SigningKeys.read(state_dir)
    return verify_directory(
        target, keys.openpgp, (keys.ed25519,), (keys.dsse,), task_id=task_id, run_id=0, complete=True
    )


if __name__ == "__main__":
    with click.Context(click.Command("demo"), color=colour()):
        sys.exit(main())
