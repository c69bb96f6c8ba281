"""Who owns what the executor makes: root and one group, where there is such a group; else just ourselves."""

import grp
import os
from functools import cache
from pathlib import Path


def group_id(name: str) -> int:
    """The gid of a group of taskward; our own when it does not exist or we are not root."""
    return _gid_of(name) if os.geteuid() == 0 else os.getegid()


def group_of(name: str) -> int | None:
    """The gid of any group of the system; None where there is none of that name."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


@cache
def _gid_of(name: str) -> int:
    gid = group_of(name)
    return os.getegid() if gid is None else gid


def give_to_group(path: Path | int, group: str, mode: int) -> None:
    """Ours, for `group` to read, with `mode`.

    Raises:
        OSError: it is not ours.
    """
    os.chown(path, os.geteuid(), group_id(group))
    os.chmod(path, mode)  # noqa: PTH101 - a descriptor, too
