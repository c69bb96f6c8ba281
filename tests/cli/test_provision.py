import pwd
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from taskward.cli import resolved
from taskward.cli.accounts import user_of
from taskward.cli.directories import PASSWORD_ROLES, password_owner
from taskward.cli.provision import provision
from taskward.core.errors import ConfigurationError
from taskward.core.settings import Settings

from .conftest import WriteConfig, needs_root


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@needs_root
def test_each_password_is_readable_for_its_own_role_only(settings: Settings) -> None:
    provision(settings)
    for role in PASSWORD_ROLES:
        found = settings.layout.redis_password(role).stat()
        assert pwd.getpwuid(found.st_uid).pw_name == password_owner(role)
        assert stat.S_IMODE(found.st_mode) == 0o400


def test_passwords_differ_and_survive_a_second_time(settings: Settings) -> None:
    provision(settings)
    first = {role: settings.layout.redis_password(role).read_text() for role in PASSWORD_ROLES}
    provision(settings)
    assert {role: settings.layout.redis_password(role).read_text() for role in PASSWORD_ROLES} == first
    assert len(set(first.values())) == len(PASSWORD_ROLES)


def test_token_is_for_the_claimer_and_nowhere_else(settings: Settings) -> None:
    provision(settings)
    holders = [path for path in _files(settings.layout.state_dir) if b"a-very-secret-token" in path.read_bytes()]
    assert holders == [settings.layout.access_token]
    assert holders[0].stat().st_uid == pwd.getpwnam(user_of("claimer")).pw_uid


def test_resolved_configuration_is_complete_and_without_secrets(settings: Settings) -> None:
    provision(settings)
    file = resolved.path_of(settings)
    data = tomllib.loads(file.read_text())
    shared = {"taskcluster", "worker", "claimer", "executor", "docker", "images", "uploader", "environment"}
    assert set(data) == shared | {"gateway", "proxy", "signer", "keyholder", "decrypter"}
    assert Settings.load(file).worker == settings.worker
    secrets = [path.read_text().strip() for path in _files(settings.layout.state_dir / "secrets")]
    assert not any(secret in file.read_text() for secret in secrets)


def test_operators_values_win_over_the_defaults(write_config: WriteConfig) -> None:
    settings = Settings.load(write_config(gateway={"public_url": "https://logs.example.com"}))
    assert resolved.sections(settings)["gateway"]["public_url"] == "https://logs.example.com"


@pytest.mark.parametrize(
    ("section", "key", "near"),
    [("gateway", "public_ulr", "public_url"), ("proxy", "prot", "port"), ("signer", "allowed_user", "allowed_users"),
     ("keyholder", "keys_dri", "keys_dir")],
)  # fmt: skip
def test_unknown_key_of_any_process_is_refused_with_a_suggestion(
    write_config: WriteConfig, section: str, key: str, near: str
) -> None:
    settings = Settings.load(write_config(**{section: {key: "x"}}))
    with pytest.raises(ConfigurationError, match=f"{key}.*{near}"):
        provision(settings)
    assert not resolved.path_of(settings).exists()


def test_missing_token_file_is_named(write_config: WriteConfig) -> None:
    settings = Settings.load(write_config(taskcluster={"access_token_file": "/nowhere/token"}))
    with pytest.raises(ConfigurationError, match=r"access_token_file: /nowhere/token"):
        provision(settings)


def test_port_that_is_taken_is_named(write_config: WriteConfig) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings.load(write_config(proxy={"port": port}))
        with pytest.raises(ConfigurationError, match=rf"\[proxy\] port {port}"):
            provision(settings)


@needs_root
def test_planted_link_in_place_of_the_token_is_replaced_not_followed(settings: Settings, place: Path) -> None:
    provision(settings)
    victim = place / "victim"
    victim.write_text("untouched")
    settings.layout.access_token.unlink()
    settings.layout.access_token.symlink_to(victim)
    provision(settings)
    assert victim.read_text() == "untouched"
    assert not settings.layout.access_token.is_symlink()
    assert victim.stat().st_uid == 0


def test_where_too_few_files_may_be_open_nothing_is_started(write_config: WriteConfig) -> None:
    argv = ["prlimit", "--nofile=256", "--", str(Path(sys.prefix) / "bin/taskward"), "up", "--detach", "--config"]
    done = subprocess.run([*argv, str(write_config())], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 64
    assert "only 256 files may be open here; the worker needs 1024" in done.stderr
