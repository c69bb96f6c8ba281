import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulators.patience import until
from simulators.service import Call, Service, serving

from .conftest import config_writer, needs_root, new_place

TASKWARD = (sys.executable, "-m", "taskward.cli")
ROLES = {"redis", "keyholder", "decrypter", "signer", "proxy", "gateway", "uploader", "claimer", "executor"}


class Refusing(Service):
    """A Taskcluster that knows nobody."""

    def answer(self, call: Call) -> tuple[int, Any]:
        if call.path.endswith("/ping"):
            return 200, {}
        return 401, {"code": "AuthenticationFailed", "message": "who is that?"}


class RunningWorker:
    """A worker that Taskcluster refuses: every process runs, none gets anything to do."""

    def __init__(self, config: Path, state_dir: Path) -> None:
        self.config, self.state_dir = config, state_dir

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [*TASKWARD, *arguments, "--config", str(self.config)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, umask=0)

    def status(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return data

    def role(self, name: str) -> dict[str, Any]:
        return next(role for role in self.status()["roles"] if role["name"] == name)

    @property
    def supervisor_pid(self) -> int:
        return int((self.state_dir / "run/supervisor/supervisord.pid").read_text())


@pytest.fixture(scope="module")
def shared_worker() -> Iterator[RunningWorker]:
    with new_place() as place, serving(Refusing()) as taskcluster:
        told = {"taskcluster": {"root_url": taskcluster.url}, "executor": {"enable_encrypted_env": True}}
        running = RunningWorker(config_writer(place)(**told), place / "w")
        yield running
        running.run("down")


@pytest.fixture
def worker(shared_worker: RunningWorker) -> RunningWorker:
    """Running, started here when the test before has ended it."""
    if not shared_worker.status()["running"]:
        started = shared_worker.run("up", "--detach")
        assert started.returncode == 0, started.stderr
    return shared_worker


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_every_role_runs_once_and_is_shown(worker: RunningWorker) -> None:
    report = worker.status()
    assert {role["name"] for role in report["roles"]} == ROLES
    assert all(role["state"] == "RUNNING" and role["restarts"] == 0 and role["pid"] for role in report["roles"])
    assert report["redis"] is True
    assert worker.run("up", "--detach").returncode == 69


def test_umask_of_whoever_starts_it_is_not_the_workers(worker: RunningWorker) -> None:
    found = {path: path.lstat().st_mode for path in worker.state_dir.rglob("*") if path.is_file()}
    assert not {path: oct(mode) for path, mode in found.items() if mode & 0o022}
    assert not {path: oct(mode) for path, mode in found.items() if mode & 0o077 and path.match("redis/**/*")}
    assert any(path.match("redis/*/*.aof") for path in found)


def test_ports_of_the_worker_itself_are_not_taken(worker: RunningWorker) -> None:
    found = json.loads(worker.run("doctor", "--json").stdout)
    assert [each["state"] for each in found if each["check"] in ("ports", "state directory")] == ["ok", "ok"]


def test_killed_process_comes_back_and_is_counted(worker: RunningWorker) -> None:
    before = worker.role("gateway")
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: worker.role("gateway")["state"] == "RUNNING" and worker.role("gateway")["pid"] != before["pid"])
    until(lambda: worker.role("gateway")["restarts"] == before["restarts"] + 1)
    assert worker.role("proxy")["restarts"] == 0


def test_killed_redis_comes_back_with_its_functions(worker: RunningWorker) -> None:
    before = worker.role("redis")
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: worker.status()["redis"] and worker.role("redis")["pid"] not in (0, before["pid"]))
    assert worker.run("drain", "--no-wait").returncode == 0
    assert worker.run("drain", "--undo").stdout == "claiming again\n"


def test_drained_worker_says_so_everywhere_also_after_a_restart(worker: RunningWorker) -> None:
    assert worker.status()["draining"] is False
    assert worker.run("drain").returncode == 0
    worker.run("down")
    assert worker.status()["draining"] is None  # nobody can be asked
    drained = worker.run("up", "--detach").stderr
    assert "warning: the worker is drained" in drained
    assert worker.status()["draining"] is True
    assert "the worker is drained" in worker.run("status").stdout
    until(lambda: 'taskward_claimer_draining{process="claimer"} 1' in worker.run("metrics").stdout)
    findings = {each["check"]: each for each in json.loads(worker.run("doctor", "--json").stdout)}
    assert findings["drain"]["state"] == "warning"
    assert "taskward drain --undo" in findings["drain"]["text"]
    worker.run("drain", "--undo")
    assert worker.status()["draining"] is False


def test_down_leaves_nothing(worker: RunningWorker) -> None:
    pids = [role["pid"] for role in worker.status()["roles"]] + [worker.supervisor_pid]
    stopped = worker.run("down")
    assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    assert not any(_lives(pid) for pid in pids)


def test_killed_supervisor_takes_all_with_it_and_can_be_started_again(worker: RunningWorker) -> None:
    pids = [role["pid"] for role in worker.status()["roles"]]
    os.kill(worker.supervisor_pid, signal.SIGKILL)
    until(lambda: not any(_lives(pid) for pid in pids))
    again = worker.run("up", "--detach")
    assert again.returncode == 0, again.stderr
    assert "warning: the worker may get no tasks: credentials: 401 AuthenticationFailed: " in again.stderr
    assert all(role["state"] == "RUNNING" and role["restarts"] == 0 for role in worker.status()["roles"])


@needs_root
def test_no_process_has_more_than_its_user_and_groups(worker: RunningWorker) -> None:
    for role in worker.status()["roles"]:
        status = Path(f"/proc/{role['pid']}/status").read_text()
        uid = int(re.findall(r"^Uid:\s+(\d+)", status, re.MULTILINE)[0])
        if role["name"] == "executor":
            assert uid == 0
            continue
        assert uid != 0
        assert "CapEff:\t0000000000000000" in status
        assert "CapBnd:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status


@needs_root
def test_no_secret_in_arguments_or_environment(worker: RunningWorker) -> None:
    secrets = [path.read_bytes().strip() for path in (worker.state_dir / "secrets").glob("*/*") if path.suffix == ""]
    for role in worker.status()["roles"]:
        for name in ("cmdline", "environ"):
            content = Path(f"/proc/{role['pid']}/{name}").read_bytes()
            assert not any(secret in content for secret in secrets), (role["name"], name)


PROBE = """
import pathlib, socket, sys
root = pathlib.Path(sys.argv[1])
for name in ("redis/redis.sock", "signer/signer.sock", "keyholder/keyholder.sock", "decrypter/decrypter.sock",
             "supervisor/supervisor.sock"):
    try:
        socket.socket(socket.AF_UNIX).connect(str(root / "run" / name))
        print("reached", name)
    except PermissionError:
        pass
for name in ("keys", "decrypter", "secrets/claimer", "secrets/admin", "outbox", "logs", "signer", "redis", "var/log"):
    try:
        print("entered", list((root / name).iterdir()))
    except PermissionError:
        pass
"""


@needs_root
def test_stranger_reaches_no_socket_and_no_secret(worker: RunningWorker) -> None:
    stranger = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", "/usr/bin/python3", "-c", PROBE)
    found = subprocess.run([*stranger, str(worker.state_dir)], capture_output=True, text=True, timeout=30, check=True)
    assert found.stdout == ""
