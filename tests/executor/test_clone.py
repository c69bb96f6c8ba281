"""A machine without room for a further process is asked again."""

import errno
from collections.abc import Callable

import pytest

from taskward.executor.clone import fork_patiently


def full(times: int, number: int = errno.EAGAIN) -> Callable[[], int]:
    """A fork that fails so often."""
    left = iter(range(times))

    def fork() -> int:
        if next(left, None) is not None:
            raise OSError(number, "no room")
        return 4711

    return fork


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
def test_room_that_comes_back_is_used(number: int) -> None:
    pauses: list[float] = []

    assert fork_patiently(full(5, number), pauses.append) == 4711

    assert len(pauses) == len(set(pauses)) == 5


def test_a_machine_that_stays_full_is_told_after_some_ten_seconds() -> None:
    pauses: list[float] = []

    with pytest.raises(OSError, match="no room"):
        fork_patiently(full(1000), pauses.append)

    assert 5 < sum(pauses) < 15


def test_what_time_does_not_mend_is_told_at_once() -> None:
    pauses: list[float] = []

    with pytest.raises(PermissionError):
        fork_patiently(full(1, errno.EPERM), pauses.append)

    assert pauses == []
