"""Calls the command, and turns how it ends into an exit code: see `taskward.cli.errors`."""

import traceback

import click

from taskward.cli import output
from taskward.cli.errors import CommandError, Forbidden, Misbehaved, NotConfigured, NotSaved, Unavailable
from taskward.cli.group import taskward
from taskward.cli.interrupts import INTERRUPTED


def exit_code() -> int:
    """Does what the command line says; the code is not 1 for anything but a failure that the command itself tells."""
    output.guard()
    try:
        return _call()
    except output.OutputLost as lost:
        try:
            lost.tell()
        except output.OutputLost as both:
            both.tell()
        return NotSaved.exit_code


def _call() -> int:
    try:
        return int(taskward.main(standalone_mode=False, color=output.colour()) or 0)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except output.OutputLost:
        raise
    except Exception as error:  # noqa: BLE001 - the last that can be done about it
        if told := _told(error):
            told.show()
            return told.exit_code
        traceback.print_exc()
        return Misbehaved.exit_code


def _told(error: Exception) -> CommandError | None:
    """What a person can do something about; None is a fault of ours."""
    from taskward.core.errors import ConfigurationError, TaskwardError, Unreachable

    if isinstance(error, ConfigurationError):
        return NotConfigured(str(error))
    if isinstance(error, TaskwardError):
        return (Unavailable if isinstance(error, Unreachable) else Misbehaved)(str(error))
    if not isinstance(error, OSError) or error.filename is None:
        return None
    if isinstance(error, PermissionError):
        return Forbidden(f"{error.filename}: {error.strerror}; ask as its user, or as root")
    return NotSaved(f"{error.filename}: {error.strerror}")
