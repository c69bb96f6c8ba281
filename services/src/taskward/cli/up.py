"""``taskward up`` and ``taskward down``."""

import time
from pathlib import Path

import click

from taskward.cli import options, places, redisview
from taskward.cli.accounts import missing_isolation
from taskward.cli.opinion import Opinion
from taskward.cli.secret import exposures
from taskward.cli.worker import Worker
from taskward.core.settings import Settings


@click.command()
@options.config
@click.option("--detach", "-d", is_flag=True, help="Return when every process runs; stop it with `taskward down`.")
def up(config: Path | None, detach: bool) -> None:
    """Start the worker: checks the configuration, makes users and directories, starts every process.

    Without --detach it stays in the foreground (as supervisord) until SIGTERM or Ctrl-C.

    \b
    Examples:
      taskward up --config /etc/taskward/taskward.toml
      taskward up --config worker.toml --detach

    Exit codes: 0 stopped in order (or, with --detach, started), 64 configuration, 69 running already or not coming up,
    74 the disk is full, 77 it is another user's.
    """
    settings = places.load(config)
    warn_of_missing_isolation()
    warn_of_exposed_secrets(settings)
    worker = Worker(settings)
    if not detach:
        click.echo(f"starting {settings.worker.task_queue_id}; look at it with: taskward status", err=True)
        worker.replace_this_process()
    began, opinion = time.monotonic(), Opinion(settings)
    try:
        started = worker.start(meanwhile=opinion.ask)
    except KeyboardInterrupt:
        click.echo("interrupted; what has been started goes on, taskward down stops it", err=True)
        raise
    click.echo(f"{len(started)} processes run after {time.monotonic() - began:.1f} s; logs: {worker.state_dir}/var/log")
    warn_of_draining(settings)
    if objection := opinion.objection():
        click.echo(f"warning: the worker may get no tasks: {objection}", err=True)


@click.command()
@options.config
def down(config: Path | None) -> None:
    """Stop the worker. Running tasks end as worker-shutdown, so that the queue retries them elsewhere.

    \b
    Example:
      taskward drain && taskward down     let the running tasks finish first

    Exit codes: 0 nothing is left running (also when nothing ran), 1 something did not end, 64 configuration,
    77 it is another user's.
    """
    worker = Worker(places.load(config))
    click.echo("stopped" if worker.stop() else "was not running")


def warn_of_missing_isolation() -> None:
    """Says on standard error what a worker of an ordinary user lacks."""
    for text in missing_isolation():
        click.echo(f"warning: not run by root: {text}", err=True)


def warn_of_exposed_secrets(settings: Settings) -> None:
    """Says on standard error who else can read the worker's own credentials."""
    for text in exposures(settings):
        click.echo(f"warning: {text}", err=True)


def warn_of_draining(settings: Settings) -> None:
    """Says on standard error that a worker that has just come up will not ask for tasks."""
    if redisview.is_draining(settings.redis("monitor")):
        click.echo(f"warning: {redisview.DRAINED}", err=True)
