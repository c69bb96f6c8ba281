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

from typing import Final

import click

FAILED: Final = 1
CONFIGURATION: Final = 64
UNAVAILABLE: Final = 69
INTERNAL: Final = 70
FORBIDDEN: Final = 77


class CommandError(click.ClickException):
    """Ends the command with this text and exit code; the text says what, where, and the remedy."""

    def __init__(self, text: str, exit_code: int = FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code
