"""``taskward lint``: would a worker take this task?"""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from taskward.cli import options, taskfile
from taskward.cli.errors import CommandError
from taskward.core.clock import utc_now
from taskward.core.errors import ConfigurationError

_NO_QUEUE: Final = "any-provisioner/any-worker-type"
_WRONG: Final = 1
_UNREADABLE: Final = 2


@click.command()
@click.argument("files", type=click.Path(path_type=Path), metavar="TASK.yml...", nargs=-1, required=True)
@click.option(
    "--config", "-c", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Check against this worker: its switches, limits and queue. Without it, a worker that offers everything.",
)  # fmt: skip
@click.option("--queue", "task_queue_id", metavar="ID", help="Task queue, when a file does not name one.")
@options.as_json
def lint(files: Sequence[Path], config: Path | None, task_queue_id: str | None, as_json: bool) -> None:
    """Check tasks before they are created, as the worker will: nothing is run, no service is asked.

    TASK.yml (YAML or JSON; - reads standard input) is a task definition, or only a payload, as for `taskward run`.
    Checked are: the payload against the schema; scopes that features need against task.scopes (roles, assume:..., are
    not expanded); when artifacts expire, against deadline and expires; dependencies for artifacts that are mounted and
    for images that tasks make; names of artifacts; with --config, what that worker offers.

    \b
    Examples:
      taskward lint task.yml
      taskward lint --config /etc/taskward/taskward.toml tasks/*.yml
      taskward lint --json task.yml | jq '.[].problems'

    Exit codes: 0 nothing is wrong, 1 something is, 2 a file cannot be read or the command is used wrongly,
    64 the configuration cannot be used.
    """
    results, unreadable = [], False
    for file in files:
        try:
            found, noted = _findings(file, config, task_queue_id)
        except CommandError as error:
            click.echo(f"Error: {error.message}", err=True)
            unreadable = True
            continue
        results.append({"file": str(file), "ok": not found, "problems": found, "notes": noted})
        if not as_json:
            _show(file, found, noted)
    if as_json:
        options.print_json(results)
    sys.exit(_UNREADABLE if unreadable else _WRONG if any(not each["ok"] for each in results) else 0)


Findings = list[dict[str, str]]


def _findings(file: Path, config: Path | None, task_queue_id: str | None) -> tuple[Findings, Findings]:
    """Problems, and notes."""
    from taskward.cli import inspection, places

    settings = inspection.at_work(places.load(config)) if config else None
    queue = task_queue_id or (settings.worker.task_queue_id if settings else _NO_QUEUE)
    definition = taskfile.complete(taskfile.read(file), queue, file.stem, utc_now())
    found = []
    named = inspection.queue_of(definition)
    if settings is None:
        try:
            settings = inspection.generous(named, definition["payload"])
        except ConfigurationError:
            found.append(inspection.Problem("taskQueueId", f"not of the form <provisionerId>/<workerType>: {named!r}"))
            settings = inspection.generous(_NO_QUEUE, definition["payload"])
    elif named != settings.worker.task_queue_id:
        text = f"is {named!r}, but the worker of {config} serves {settings.worker.task_queue_id!r}"
        found.append(inspection.Problem("taskQueueId", text))
    found += inspection.inspect(definition, settings)
    return [asdict(each) for each in found], [asdict(each) for each in inspection.advise(definition, settings)]


def _show(file: Path, found: Findings, noted: Findings) -> None:
    if not found:
        click.echo(f"{file}: ok")
    for problem in found:
        click.echo(f"{file}: {click.style(problem['where'], bold=True)}: {problem['text']}")
    for note in noted:
        click.echo(f"{file}: note: {click.style(note['where'], bold=True)}: {note['text']}")
