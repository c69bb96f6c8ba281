"""Places and workers that are not those of whoever asks: every command says so in a line, with what can be done."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import WriteConfig, needs_root

TASKWARD = (sys.executable, "-m", "taskward.cli")
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")

pytestmark = needs_root


def _run(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    told = {**os.environ, **variables}
    return subprocess.run(argv, env=told, cwd="/", capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def workers_of_root(write_config: WriteConfig, place: Path) -> Path:
    """Its configuration, readable for all; the worker was started and stopped by root."""
    config = write_config(worker={"state_dir": place / "w"})
    for path, mode in (("w", 0o755), ("w/run", 0o755), ("w/run/supervisor", 0o700)):
        (place / path).mkdir(mode=mode)
    (place / "w/run/supervisor/alive.lock").touch(mode=0o600)
    return config


@pytest.mark.parametrize("command", [["status"], ["down"], ["up", "--detach"]])
def test_worker_of_another_user_is_for_that_user_only(workers_of_root: Path, command: list[str]) -> None:
    done = _run(*AS_NOBODY, *TASKWARD, *command, "--config", str(workers_of_root))
    assert done.returncode == 77, done.stderr
    assert "Permission denied; ask as " in done.stderr
    assert "the user who started the worker" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("state_dir", ["/etc/passwd/x", "/root/x"])
def test_place_where_a_user_can_make_nothing_is_named(write_config: WriteConfig, state_dir: str) -> None:
    config = str(write_config(worker={"state_dir": state_dir}))
    done = _run(*AS_NOBODY, *TASKWARD, "up", "--detach", "--config", config)
    assert done.returncode == 64, done.stderr
    assert f"Error: [worker] state_dir {state_dir}: nothing can be made in " in done.stderr
    assert "where the user nobody can make directories" in done.stderr


@pytest.mark.parametrize("home", ["/root", ""])
def test_development_worker_needs_a_home_that_can_be_written(home: str) -> None:
    done = _run(*AS_NOBODY, *TASKWARD, "dev", "--detach", HOME=home)
    assert (done.returncode, "nothing can be made in " in done.stderr) == (64, True)


def test_user_without_a_name_is_told_to_get_one(write_config: WriteConfig) -> None:
    argv = ("setpriv", "--reuid=4242424", "--regid=65534", "--clear-groups", "--", *TASKWARD)
    done = _run(*argv, "up", "--detach", "--config", str(write_config()))
    assert (done.returncode, "uid 4242424 has no user name" in done.stderr) == (64, True)
    assert _run(*argv, "status", "--config", str(write_config())).returncode == 69
