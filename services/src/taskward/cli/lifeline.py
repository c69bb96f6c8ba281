"""What ties the programs of a worker to their supervisor. Imports nothing: supervisord itself does (docs/adr/0008)."""

from typing import Final

SUPERVISOR: Final = "TASKWARD_SUPERVISOR"
"""The variable in which a program finds the pid of its supervisor (`attendant.attend`)."""

ALIVE_LOCK: Final = "alive.lock"
"""In the supervisor's directory: every process of the worker holds it locked while it lives."""

UNLESS_ORPHANED: Final = f'test "$PPID" = "${SUPERVISOR}" && exec "$@"'
"""For ``sh -c``: becomes the program, unless the supervisor has died in the moment before."""
