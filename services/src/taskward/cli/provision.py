"""Makes a machine ready for a worker: users, directories, Redis passwords, the token, the resolved configuration.

Repeating it changes nothing; passwords and keys that exist are kept.
"""

import os
import pwd
import shutil
from pathlib import Path

from taskward.cli import resolved
from taskward.cli.accounts import ensure_accounts, user_of
from taskward.cli.directories import PASSWORD_ROLES, ensure_directories, explained, password_owner
from taskward.cli.secret import Secret, secrets
from taskward.core.acl import write_acl
from taskward.core.errors import ConfigurationError
from taskward.core.redis_server import configuration, find_server
from taskward.core.settings import Settings


def provision(settings: Settings) -> None:
    """Everything that has to be there before the first process starts.

    Raises:
        ConfigurationError: something cannot be made or read; nothing is running yet.
    """
    resolved.check(settings)
    resolved.refuse_taken_ports(settings)
    _require_programs()
    if os.geteuid() == 0:
        ensure_accounts()
    state_dir = settings.layout.state_dir
    ensure_directories(state_dir)
    with explained(state_dir):
        _redis(settings)
        for secret in secrets(settings):
            _hand_over(secret)
        replace(resolved.path_of(settings), resolved.text(settings), user_of("supervisor"), 0o644)


def replace(path: Path, text: str, owner: str, mode: int) -> None:
    """Writes a whole file for `owner`, or leaves the old one."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as stream:
        stream.write(text)
        if os.geteuid() == 0:
            account = pwd.getpwnam(owner)
            os.fchown(fd, account.pw_uid, account.pw_gid)
        os.fchmod(fd, mode)
    draft.rename(path)


def _redis(settings: Settings) -> None:
    """ACL, passwords and redis.conf; the server's directory belongs to its user, hence only whole files go there."""
    home = settings.layout.state_dir / "secrets/admin"
    files = {role: settings.layout.redis_password(role) for role in PASSWORD_ROLES}
    write_acl(home / "users.acl", files)
    hidden = hidden_socket(settings)
    data, runs = settings.layout.state_dir / "redis", (settings.worker.capacity, settings.executor.max_artifacts)
    replace(home / "redis.conf", configuration(data, hidden, home / "users.acl", *runs), user_of("redis"), 0o400)
    for role, path in files.items():
        _give(path, password_owner(role))
    _give(home / "users.acl", user_of("redis"))


def hidden_socket(settings: Settings) -> Path:
    """Where Redis listens until its functions are loaded; then the socket gets its proper name."""
    return settings.layout.redis_socket.with_name(".redis.sock")


def _hand_over(secret: Secret) -> None:
    """Copies it to where only the claimer can read it."""
    text = secret.read()
    if secret.path.resolve() != secret.copy.resolve():
        replace(secret.copy, text, user_of("claimer"), 0o400)


def _give(path: Path, owner: str) -> None:
    if os.geteuid() == 0:
        account = pwd.getpwnam(owner)
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    path.chmod(0o400)


def _require_programs() -> None:
    find_server()
    needed = {"setpriv": "util-linux", "flock": "util-linux", "gpg": "gnupg"}
    missing = {package for program, package in needed.items() if not shutil.which(program)}
    if missing:
        raise ConfigurationError(f"missing programs; install: apt-get install {' '.join(sorted(missing))}")
