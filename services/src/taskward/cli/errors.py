"""How a command ends when it cannot do what it was asked.

========  ==========================================================================================
exit      meaning
========  ==========================================================================================
0         done
1         it failed (`run`: the task failed; `verify`: a signature is wrong; `doctor`: a check failed)
2         wrong usage (`run`: the task ended in an exception)
3         `run` only: the task was canceled
64        the configuration must be changed
69        something that is needed is not there: the worker is not running, Taskcluster does not answer
70        a service did not behave
77        the user running the command may not do this
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


class Unavailable(CommandError):
    """Something that is needed is not there; start it, or try later."""

    exit_code = 69


class Misbehaved(CommandError):
    """A service answered what it must not."""

    exit_code = 70


class Forbidden(CommandError):
    """Ask again as another user."""

    exit_code = 77
