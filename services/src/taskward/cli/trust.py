"""Which certificates this machine shall trust for Taskcluster beside the system's: ``[taskcluster] ca_file``."""

import os
import pwd
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Final

from taskward.cli.accounts import user_of
from taskward.core.errors import ConfigurationError
from taskward.core.settings import Settings

_READERS: Final = ("claimer", "uploader")
_STRANGER: Final = 65534
_TIMEOUT_S: Final = 10


def check(settings: Settings) -> None:
    """That the file, if there shall be one, has certificates in it, and that those who need it may read it.

    Raises:
        ConfigurationError: it has none, or they may not; the text names file, section, key, path and the remedy.
    """
    if (path := settings.taskcluster.ca_file) and (fault := _fault(path)):
        raise ConfigurationError(f"{settings.where}: [taskcluster] ca_file: {path}: {fault}")


def _fault(path: Path) -> str:
    """What is wrong, and the remedy; empty when nothing is."""
    try:
        if path.exists() and not path.is_file():
            return "is not a file; name one with the authority's certificate"
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except FileNotFoundError:
        return "is missing; put the authority's certificate there, or leave the key out to trust the system's"
    except ssl.SSLError:
        return "holds no certificate that can be read; it must be in PEM form (-----BEGIN CERTIFICATE-----)"
    except OSError as error:
        return f"cannot be read: {error.strerror}; name a file that {user_of(_READERS[0])} can read"
    if shut_out := [user_of(role) for role in _READERS if not _may_read(role, path)]:
        return f"cannot be read by {' and '.join(shut_out)}: chmod a+r the file, and a+x the directories above it"
    return ""


def _may_read(role: str, path: Path) -> bool:
    """Tried as the role's own user; where it has not been made yet, as a stranger, which it will be."""
    if os.geteuid() != 0:
        return True
    try:
        account = pwd.getpwnam(user_of(role))
        user, group, groups = account.pw_uid, account.pw_gid, os.getgrouplist(account.pw_name, account.pw_gid)
    except KeyError:
        user, group, groups = _STRANGER, _STRANGER, []
    argv = (shutil.which("test") or "/usr/bin/test", "-r", str(path))
    try:
        done = subprocess.run(
            argv, user=user, group=group, extra_groups=groups, cwd="/", timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # a root that may not become others, as in some containers
        return True
    return done.returncode == 0
