"""The operating system's users and groups that keep the worker's processes apart."""

import grp
import os
import pwd
import subprocess
from collections.abc import Mapping
from typing import Final

from taskward.core.errors import ConfigurationError

ROLE_USERS: Final[Mapping[str, str]] = {
    "claimer": "tw-claimer",
    "uploader": "tw-uploader",
    "signer": "tw-signer",
    "keyholder": "tw-keys",
    "decrypter": "tw-decrypt",
    "proxy": "tw-proxy",
    "gateway": "tw-gateway",
    "redis": "tw-redis",
    "devcluster": "tw-dev",
}
"""Role → its user. The executor and the supervisor are root: they make users and processes."""

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "tw-queue": ("claimer", "uploader", "proxy", "gateway"),
    "tw-logs": ("gateway", "uploader"),
    "tw-sign": ("uploader", "signer"),
    "tw-hold": ("signer", "keyholder"),
}
"""Group → the roles in it: who reaches Redis, the logs, the signer, the keyholder."""

_TIMEOUT_S: Final = 30


def ensure_accounts() -> None:
    """Makes what is missing, as root; nothing when all is there.

    Raises:
        ConfigurationError: the system refused to make a user or a group.
    """
    for group in GROUPS:
        if not _exists(grp.getgrnam, group):
            _run("groupadd", "--system", group)
    for role, user in ROLE_USERS.items():
        if not _exists(pwd.getpwnam, user):
            _run("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
                 "--shell", "/usr/sbin/nologin", "--comment", f"taskward {role}", user)  # fmt: skip
        for group, roles in GROUPS.items():
            if role in roles and user not in grp.getgrnam(group).gr_mem:
                _run("usermod", "--append", "--groups", group, user)


def user_of(role: str) -> str:
    """The user that `role` runs as here: its own as root, else whoever runs this.

    Raises:
        ConfigurationError: whoever runs this has a number and no name.
    """
    if os.geteuid() != 0:
        return _own_name()
    return ROLE_USERS.get(role, "root")


def missing_isolation() -> tuple[str, ...]:
    """What a worker that is not started by root cannot promise; empty as root."""
    if os.geteuid() == 0:
        return ()
    try:
        name = _own_name()
    except ConfigurationError:
        name = f"uid {os.geteuid()}"
    return (
        f"every process of the worker and every task runs as {name}: a task can read the worker's files and Redis",
        "the signing keys are readable for tasks: signatures prove nothing about the worker",
        "tasks are not separated from each other, and the proxy cannot tell them apart by their user",
        "no memory or process limits, and no cgroup that ends everything a task has started",
    )


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError as error:
        raise ConfigurationError(f"uid {os.geteuid()} has no user name; make one (useradd), or be another") from error


def _exists(find: object, name: str) -> bool:
    try:
        find(name)  # type: ignore[operator]  # pwd.getpwnam or grp.getgrnam
    except KeyError:
        return False
    return True


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise ConfigurationError(f"{' '.join(argv)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
