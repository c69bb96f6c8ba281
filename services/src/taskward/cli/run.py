"""``taskward run``: a task from a file, watched to its end."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import requests

from taskward.cli import artifacts, connection, taskfile
from taskward.cli.errors import CommandError, Unavailable
from taskward.cli.follow import LogFollower, RunState

_COLOURS: Final = {"completed": "green", "failed": "red", "exception": "magenta", "running": "cyan"}
_CANCELED: Final = 3
_EXIT: Final = {"completed": 0, "failed": 1, "exception": 2}


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="TASK.yml")
@click.option("--queue", "task_queue_id", metavar="ID", help="Task queue, when the file does not name one.")
@click.option("--task-id", metavar="ID", help="The new task's id, chosen before; by default a new one.")
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

    Exit codes: 0 completed, 1 failed, 2 exception, 3 canceled, 69 Taskcluster does not answer, 130 interrupted.
    """
    import slugid
    import taskcluster

    queue = taskcluster.Queue(connection.options())
    definition = taskfile.complete(
        taskfile.read(file), task_queue_id or connection.default_queue(), file.stem, datetime.now(UTC)
    )
    task_id = task_id or str(slugid.nice())
    with _explained():
        queue.createTask(task_id, definition)
        began = time.monotonic()
        try:  # from the moment on that its creation is told
            click.secho(f"task {task_id} created", err=True, bold=True)
            if not wait:
                click.echo(json.dumps({"taskId": task_id}) if as_json else task_id)
                return
            state = _watch(queue, task_id, as_json)
        except KeyboardInterrupt:
            _offer_cancel(queue, task_id)
            sys.exit(130)
        found = _collect(queue, task_id, state, target)
    if as_json:
        result = {"taskId": task_id, "runId": state.run_id, "state": state.state, "reason": state.reason}
        click.echo(json.dumps({**result, "seconds": round(time.monotonic() - began, 3), "artifacts": found}, indent=2))
    sys.exit(_CANCELED if state.reason == "canceled" else _EXIT[state.state])


def _watch(queue: Any, task_id: str, log_to_stderr: bool) -> RunState:
    """Shows states and log; returns the last state."""
    output = sys.stderr.buffer if log_to_stderr else sys.stdout.buffer
    began = time.monotonic()
    state = RunState(None, "unscheduled", "", "")
    for event in LogFollower(queue, task_id).events():
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


def _collect(queue: Any, task_id: str, state: RunState, target: Path | None) -> list[dict[str, Any]]:
    """Lists the artifacts, and saves them when there is a target."""
    if state.run_id is None:
        return []
    found = list(artifacts.listed(queue, task_id, state.run_id))
    for each in found:
        size = ""
        if target and each.storage_type in artifacts.DOWNLOADED:
            size = f"  {artifacts.fetch(queue, task_id, state.run_id, each.name, target)} bytes"
        click.echo(f"  {each.storage_type:<9} {each.name}{size}", err=True)
    return [asdict(each) for each in found]


def _offer_cancel(queue: Any, task_id: str) -> None:
    click.echo("", err=True)
    if sys.stdin.isatty() and click.confirm(f"cancel task {task_id}?", default=True, err=True):
        queue.cancelTask(task_id)
        click.echo("canceled", err=True)
    else:
        click.echo(f"task {task_id} goes on", err=True)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Errors of the services as errors of this command."""
    from taskcluster.exceptions import TaskclusterConnectionError, TaskclusterRestFailure

    try:
        yield
    except TaskclusterConnectionError as error:
        raise Unavailable(f"Taskcluster does not answer: {error.superExc or error}") from error
    except TaskclusterRestFailure as error:
        raise CommandError(f"Taskcluster refused: {error}") from error
    except requests.RequestException as error:
        raise Unavailable(f"an artifact cannot be fetched: {error}") from error
