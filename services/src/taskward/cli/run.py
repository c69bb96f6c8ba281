"""``taskward run``: a task from a file, watched to its end."""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from taskward.cli import artifacts, connection, taskfile
from taskward.cli.errors import CommandError, NotSaved
from taskward.cli.follow import LogFollower, RunState
from taskward.cli.insistence import Insistence
from taskward.cli.interrupts import INTERRUPTED
from taskward.cli.runcommand import RunCommand, queue_id, task_id_of

_COLOURS: Final = {"completed": "green", "failed": "red", "exception": "magenta", "running": "cyan"}
_CANCELED: Final = 3
_EXIT: Final = {"completed": 0, "failed": 1, "exception": 2}
_INSISTENCE: Final = Insistence(partial(click.secho, err=True, fg="yellow"))


@click.command(cls=RunCommand)
@click.argument("file", type=click.Path(path_type=Path), metavar="TASK.yml")
@click.option("--queue", "task_queue_id", metavar="ID", callback=queue_id, help="Task queue, when the file names none.")
@click.option("--task-id", metavar="ID", callback=task_id_of, help="The new task's id; by default a new one.")
@click.option("--wait/--no-wait", default=True, help="Watch the task to its end (default), or only create it.")
@click.option(
    "--download",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Save all artifacts there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; the log goes to standard error.")
def run(
    file: Path, task_queue_id: str | None, task_id: str | None, wait: bool, target: Path | None, as_json: bool
) -> None:
    """Create a task, follow its log, list its artifacts, and exit with its result.

    TASK.yml (YAML or JSON; - reads standard input) is a task definition, or only a payload. Times, metadata and the
    task queue have defaults. The Taskcluster is that of TASKCLUSTER_ROOT_URL, TASKCLUSTER_CLIENT_ID and
    TASKCLUSTER_ACCESS_TOKEN, or else the running development one. Ctrl-C offers to cancel the task.

    \b
    Examples:
      taskward run task.yml
      taskward run task.yml --download out && taskward verify out
      echo '{"command": [["true"]], "maxRunTime": 60}' | taskward run -

    An artifact that cannot be saved is told, with the reason; the others are saved.

    \b
    Exit codes of a task: 0 completed, 1 failed, 2 exception, 3 canceled; 74 completed, but something
    could not be saved or written.
    Others: 64 wrong usage or configuration, 65 the definition is none or the queue refuses it,
    66 the file cannot be read, 69 Taskcluster does not answer (the task, if there is one, goes on),
    77 credentials or scopes are refused, 130 interrupted.
    """
    with connection.explained():
        queue = connection.queue()
        definition = taskfile.complete(
            taskfile.read(file), task_queue_id or connection.default_queue(), file.stem, datetime.now(UTC)
        )
        task_id = task_id or connection.new_task_id()
        began = time.monotonic()
        try:
            queue.createTask(task_id, definition)
            click.secho(f"task {task_id} created", err=True, bold=True)
            if not wait:
                click.echo(json.dumps({"taskId": task_id}) if as_json else task_id)
                return
            state = _watch(queue, task_id, as_json)
        except KeyboardInterrupt:
            _offer_cancel(queue, task_id)
            sys.exit(INTERRUPTED)
    found, whole = _collect(queue, task_id, state, target)
    if as_json:
        result = {"taskId": task_id, "runId": state.run_id, "state": state.state, "reason": state.reason}
        shown = {"seconds": round(time.monotonic() - began, 3), "artifacts": [asdict(each) for each in found]}
        click.echo(json.dumps({**result, **shown}, indent=2))
    sys.exit(_exit_code(state) or (0 if whole else NotSaved.exit_code))


def _exit_code(state: RunState) -> int:
    return _CANCELED if state.reason == "canceled" else _EXIT[state.state]


def _watch(queue: Any, task_id: str, log_to_stderr: bool) -> RunState:
    """Shows states and log; returns the last state."""
    output = sys.stderr.buffer if log_to_stderr else sys.stdout.buffer
    began = time.monotonic()
    state = RunState(None, "unscheduled", "", "")
    for event in LogFollower(queue, task_id, _INSISTENCE).events():
        if isinstance(event, bytes):
            output.write(event)
            output.flush()
            continue
        state = event
        text = " ".join(filter(None, (state.state, state.reason if state.reason != state.state else "", state.worker)))
        click.secho(
            f"[{time.monotonic() - began:6.1f} s] run {state.run_id}: {text}", err=True, fg=_COLOURS.get(state.state)
        )
    return state


def _collect(queue: Any, task_id: str, state: RunState, target: Path | None) -> tuple[Sequence[artifacts.Listed], bool]:
    """Lists the artifacts, and saves them when there is a target; and whether all that was wanted is there."""
    found: list[artifacts.Listed] = []
    try:
        with connection.explained():
            for each in _listed(queue, task_id, state.run_id):
                found.append(_save(queue, task_id, state.run_id or 0, each, target))
    except CommandError as error:
        click.secho(f"the artifacts cannot be listed: {error.message}", err=True, fg="red")
        return found, not target
    return found, not any(each.problem for each in found)


def _listed(queue: Any, task_id: str, run_id: int | None) -> Iterable[artifacts.Listed]:
    return () if run_id is None else artifacts.listed(queue, task_id, run_id, _INSISTENCE)


def _save(queue: Any, task_id: str, run_id: int, each: artifacts.Listed, target: Path | None) -> artifacts.Listed:
    if not target or each.storage_type not in artifacts.DOWNLOADED:
        click.echo(f"  {each.storage_type:<9} {each.name}", err=True)
        return each
    try:
        size_bytes = artifacts.fetch(queue, task_id, run_id, each.name, target)
    except NotSaved as error:
        click.secho(f"  {each.storage_type:<9} not saved: {error.message}", err=True, fg="red")
        return replace(each, problem=error.message)
    click.echo(f"  {each.storage_type:<9} {each.name}  {size_bytes} bytes", err=True)
    return each


def _offer_cancel(queue: Any, task_id: str) -> None:
    click.echo("", err=True)
    try:
        wanted = sys.stdin.isatty() and click.confirm(f"cancel task {task_id}?", default=True, err=True)
    except click.Abort:  # another Ctrl-C
        click.echo("", err=True)
        wanted = False
    if wanted:
        queue.cancelTask(task_id)
    click.echo("canceled" if wanted else f"task {task_id} goes on", err=True)
