"""How a command ends when it cannot do what it was asked.

========  ==========================================================================================
exit      meaning
========  ==========================================================================================
0         done
1         it failed (`run`: the task failed; `verify`: a signature is wrong; `doctor`: a check failed)
2         wrong usage (`run`: the task ended in an exception)
3         `run` only: the task was canceled
64        the configuration must be changed (`run`: wrong usage, too)
65        `run` only: what the file says is no task, or none that the queue takes
66        `run` only: the file cannot be read
69        something that is needed is not there: the worker is not running, Taskcluster does not answer
70        a service did not behave, or this program did not (with a traceback)
74        a file could not be read or saved, or the output not be written; quiet when its reader has gone
77        the user running the command, or the Taskcluster client, may not do this
130       interrupted
========  ==========================================================================================
"""

import click


class CommandError(click.ClickException):
    """The command failed; the text says what, where, and the remedy."""

    exit_code = 1


class NotConfigured(CommandError):
    """The configuration must be changed, or named."""

    exit_code = 64


class WrongUsage(CommandError):
    """Ask in another way."""

    exit_code = 64


class BadInput(CommandError):
    """What a file says must be changed."""

    exit_code = 65


class NoInput(CommandError):
    """A file cannot be read; name another one."""

    exit_code = 66


class Unavailable(CommandError):
    """Something that is needed is not there; start it, or try later."""

    exit_code = 69


class Misbehaved(CommandError):
    """A service answered what it must not."""

    exit_code = 70


class NotSaved(CommandError):
    """Something could not be written, or had before that; make room, or get it by hand."""

    exit_code = 74


class Forbidden(CommandError):
    """Ask again as another user, or with other credentials."""

    exit_code = 77
