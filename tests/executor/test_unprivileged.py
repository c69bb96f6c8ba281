"""The executor without root: tasks run as the same user, and the log says so."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from executor.bench import Bench, JobProcess, Result, shell

ORDINARY_UID = 61_234


@pytest.fixture
def ordinary(bench: Bench, redis_server: object) -> Bench:
    """As root, the job process gives its rights up; as an ordinary user it has none."""
    if os.geteuid() == 0:
        os.chown(bench.state_dir, ORDINARY_UID, ORDINARY_UID)
        address = bench.server.address("executor")
        for path in (address.socket.parent, address.socket, address.password_file):
            os.chown(path, ORDINARY_UID, ORDINARY_UID)
    return bench


def run(bench: Bench, script: str, scopes: Sequence[str] = (), **payload: object) -> Result:
    claimed = bench.claim({"command": shell(script), "maxRunTime": 20, **payload}, scopes=list(scopes))

    def execute() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID)
            os.setresuid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID)
        bench.execute(claimed)

    assert JobProcess(execute).wait() == 0
    return bench.result(claimed)


def test_a_task_runs_as_the_workers_user_and_is_told_so(ordinary: Bench) -> None:
    result = run(ordinary, "id -u; echo x > f", artifacts=[{"type": "file", "path": "f"}])

    assert result.outcome.succeeded
    assert "This worker does not run as root" in result.log
    assert result.content("f") == b"x\n"


def test_daemons_die_with_the_task(ordinary: Bench) -> None:
    result = run(ordinary, "(setsid bash -c 'setsid sleep 1000 & echo $!' &); sleep 0.3")

    assert result.outcome.succeeded
    assert not ordinary.is_alive(int(result.output[0]))


def test_files_outside_of_the_task_directory_are_no_artifacts(ordinary: Bench) -> None:
    (ordinary.state_dir / "token").write_text("secret")
    os.chmod(ordinary.state_dir / "token", 0o644)  # noqa: PTH101
    token = Path(ordinary.state_dir / "token")

    result = run(
        ordinary, f"ln -s {token} link",
        artifacts=[{"type": "file", "path": str(token), "name": "a"}, {"type": "file", "path": "link", "name": "b"},
                   {"type": "file", "path": "/etc/hostname", "name": "c"}],
    )  # fmt: skip

    assert {entry.reason for entry in result.entries.values()} == {"invalid-resource-on-worker"}


def test_limits_that_cannot_be_set_are_told(ordinary: Bench) -> None:
    ordinary.configure("executor", memory_limit_bytes=1 << 30)

    assert "memory_limit_bytes is set, but this system cannot enforce it" in run(ordinary, "true").log
