"""How ``taskward run`` is called, so that its exit codes tell whether there ever was a task.

A task that failed ends as 1, an exception as 2: what Click itself says with these numbers becomes another one here.
"""

import importlib
from typing import Any

import click

from taskward.cli.errors import WrongUsage
from taskward.cli.interrupts import leaving
from taskward.cli.output import OutputLost
from taskward.core.ids import RunId
from taskward.core.settings.worker import QUEUE_ID


class RunCommand(click.Command):
    """A command whose wrong usage is 64; of an output that is lost it says what that means for the task."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As Click does, but for the exit code."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise _WrongUsage(error.format_message(), error.ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """As Click does. What takes a while to import comes first, while an interrupt has nothing to clean up."""
        with leaving():
            importlib.import_module("taskcluster")
        try:
            return super().invoke(ctx)
        except OutputLost as lost:
            lost.add_note("the task, if there is one, goes on")
            raise


class _WrongUsage(click.UsageError):
    exit_code = WrongUsage.exit_code


def queue_id(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """``--queue``."""
    if value is not None and not QUEUE_ID.fullmatch(value):
        raise click.BadParameter(f"{value!r} is not of the form <provisionerId>/<workerType>")
    return value


def task_id_of(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """``--task-id``."""
    try:
        return value and RunId(value, 0).task_id
    except ValueError as error:
        raise click.BadParameter(f"{error}; it has to be a slugid, or leave it out") from error
