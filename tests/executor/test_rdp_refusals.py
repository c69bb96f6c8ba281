"""A remote desktop that this worker cannot give is refused, with what it lacks, and nothing of the task runs."""

import os
from pathlib import Path

import pytest

from executor.bench import Bench, Result, shell
from executor.test_unprivileged import ordinary, run
from taskward.executor.rdp import desktop

__all__ = ["ordinary"]

NAME = "private/rdp.json"
SCOPES = ["generic-worker:allow-rdp:proj-x/linux"]


@pytest.fixture
def servers(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the programs behind a desktop are looked for; the test says which are there."""
    directory = state_dir / "bin"
    directory.mkdir()
    directory.chmod(0o755)
    monkeypatch.setattr(desktop, "PATH", str(directory))
    return directory


def install(servers: Path, *names: str) -> None:
    for name in names:
        (servers / name).touch()
        (servers / name).chmod(0o755)


def assert_refused(result: Result, text: str) -> None:
    assert result.outcome.reason == "malformed-payload"
    assert text in result.log
    assert result.output == []
    assert not (result.outbox / "early.json").exists()


@pytest.mark.parametrize(
    ("there", "missing"),
    [((), "tigervnc-standalone-server, xrdp"), (("Xvnc",), "xrdp"), (("xrdp",), "tigervnc-standalone-server")],
)
def test_a_worker_without_the_servers_says_which_packages_it_lacks(
    bench: Bench, servers: Path, there: tuple[str, ...], missing: str
) -> None:
    bench.configure("executor", enable_rdp=True)
    install(servers, *there)

    payload = {"command": shell("echo ran"), "maxRunTime": 9, "rdpInfo": NAME}
    result = bench.run_payload(payload, scopes=SCOPES)

    assert_refused(
        result,
        "This task requires feature RDP (payload.rdpInfo), which this worker cannot provide: it lacks "
        f"{missing}. Create the task for a worker pool that has them, or install them on this one",
    )


def test_a_worker_that_is_not_root_would_show_its_own_desktop(ordinary: Bench, servers: Path) -> None:
    ordinary.configure("executor", enable_rdp=True)
    install(servers, "Xvnc", "xrdp")
    os.chmod(servers.parent, 0o755)  # noqa: PTH101

    result = run(ordinary, "echo ran", scopes=SCOPES, rdpInfo=NAME)

    assert_refused(result, "it does not run as root, so the desktop would be the worker's own")
    assert not ordinary.layout.desktop(result.record.run).exists()
