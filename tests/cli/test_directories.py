import grp
import os
import pwd
import stat
from pathlib import Path

import pytest

from taskward.cli.accounts import GROUPS, ROLE_USERS, ensure_accounts
from taskward.cli.directories import DIRECTORIES, ensure_directories
from taskward.core import layout
from taskward.core.errors import ConfigurationError

from .conftest import needs_root


def _owner(path: Path) -> tuple[str, str, int]:
    found = path.lstat()
    return pwd.getpwuid(found.st_uid).pw_name, grp.getgrgid(found.st_gid).gr_name, stat.S_IMODE(found.st_mode)


@needs_root
def test_accounts_are_made_once_with_their_groups() -> None:
    ensure_accounts()
    ensure_accounts()
    for group, roles in GROUPS.items():
        assert set(grp.getgrnam(group).gr_mem) >= {ROLE_USERS[role] for role in roles}
    assert all(pwd.getpwnam(user).pw_shell.endswith("nologin") for user in ROLE_USERS.values())


@needs_root
def test_every_directory_has_its_owner_and_mode(place: Path) -> None:
    ensure_accounts()
    ensure_directories(place / "w")
    for wanted in DIRECTORIES:
        assert _owner(place / "w" / wanted.path) == (wanted.owner, wanted.group, wanted.mode)


@pytest.mark.parametrize(
    "path",
    ["run/redis", "run/signer", "run/keyholder", "run/decrypter", "run/status", "outbox", "logs", "tasks", "keys"],
)
def test_table_agrees_with_the_documented_layout(path: str) -> None:
    wanted = next(each for each in DIRECTORIES if each.path == path)
    line = next(line for line in str(layout.__doc__).splitlines() if line.startswith(f"{path}/"))
    assert f"{wanted.mode:o}" in line.replace(" 0", " ")
    assert wanted.owner in line


@needs_root
def test_wrong_mode_and_owner_are_put_right(place: Path) -> None:
    ensure_accounts()
    ensure_directories(place / "w")
    (place / "w/keys").chmod(0o777)
    os.chown(place / "w/secrets/claimer", 0, 0)
    ensure_directories(place / "w")
    assert _owner(place / "w/keys") == ("tw-keys", "tw-keys", 0o700)
    assert _owner(place / "w/secrets/claimer") == ("tw-claimer", "tw-claimer", 0o500)


@needs_root
@pytest.mark.parametrize("planted", ["keys", "run/redis", "secrets/claimer", "run"])
def test_symbolic_link_is_refused_and_its_target_untouched(place: Path, planted: str) -> None:
    ensure_accounts()
    target = place / "elsewhere"
    target.mkdir(mode=0o700)
    (place / "w" / planted).parent.mkdir(parents=True, exist_ok=True)
    (place / "w" / planted).symlink_to(target)
    with pytest.raises(ConfigurationError, match="symbolic link"):
        ensure_directories(place / "w")
    assert _owner(target) == ("root", "root", 0o700)


def test_place_that_others_can_change_is_refused(place: Path) -> None:
    place.chmod(0o777)
    with pytest.raises(ConfigurationError, match="others can write"):
        ensure_directories(place / "w")


@needs_root
def test_place_that_the_workers_users_cannot_enter_is_refused(place: Path) -> None:
    place.chmod(0o700)
    with pytest.raises(ConfigurationError, match="cannot enter"):
        ensure_directories(place / "w")


@needs_root
def test_parents_can_be_entered_whatever_the_umask(place: Path) -> None:
    ensure_accounts()
    umask = os.umask(0o077)
    try:
        ensure_directories(place / "var/lib/w")
    finally:
        os.umask(umask)
    assert _owner(place / "var/lib")[2] == 0o755


@needs_root
def test_state_directory_of_another_user_is_refused(place: Path) -> None:
    ensure_accounts()
    (place / "w").mkdir()
    os.chown(place / "w", 12345, 12345)
    with pytest.raises(ConfigurationError, match="belongs to uid 12345"):
        ensure_directories(place / "w")


def test_file_in_the_way_is_refused(place: Path) -> None:
    (place / "w").write_text("")
    with pytest.raises(ConfigurationError, match="must be a directory"):
        ensure_directories(place / "w")
