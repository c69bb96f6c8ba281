"""A full disk is often full for seconds only: until the files of the task that has filled it are removed."""

import errno
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers of a file system that takes no more: it has no bytes left, or no inodes."""

FULL_FOR_S: Final = 60.0
"""How long a full disk is waited for."""

_PAUSE_S: Final = 0.1


def patiently(step: Callable[[], T], within_s: float = FULL_FOR_S) -> T:
    """What `step` returns, which is done again for a while when there is no space for what it makes.

    Raises:
        OSError: as `step` does; of `NO_SPACE` when time is up.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            return step()
        except OSError as error:
            if error.errno not in NO_SPACE or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_S)
