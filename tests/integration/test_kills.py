"""kill -9 of each role in each phase: the run ends resolved once, with the right state and bytes, and leaves nothing.

How a phase is held open, so that the kill falls into it: *preparing* by the lock that the executor takes to make a
user; *running* by the task itself; *collecting* by many empty directories to look into, until the job process is
frozen; the others by processes that are frozen meanwhile. What is frozen is killed frozen, or goes on.
"""

import fcntl
import os
import pwd
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulators.patience import until
from taskward.core.ids import RunId

from .conftest import needs_root
from .stack import Stack, send

pytestmark = [needs_root, pytest.mark.slow]

ROLES = [
    "executor", "job", "uploader", "signer", "keyholder", "claimer", "proxy", "gateway", "redis", "uploader+claimer",
]  # fmt: skip
PHASES = ["preparing", "running", "collecting", "uploading", "finishing", "resolving"]
GO = Path(f"/tmp/taskward-go-{os.getpid()}")
FILES = 3
COMMAND = [
    "sh", "-c",
    f"echo $$ > /tmp/pid-$TASK_ID-$RUN_ID; while [ ! -e {GO} ]; do sleep 0.05; done; mkdir many; cd many; "
    f"seq -f dir%g 0 $DIRECTORIES | xargs mkdir; for i in $(seq {FILES}); do echo $i > $i.txt; done; echo finished",
]  # fmt: skip


def kill(stack: Stack, role: str) -> None:
    """kill -9 of every process of the role, or roles; ``job`` is the executor's child that runs the task."""
    each = [jobs(stack) if one == "job" else stack.pids(one) for one in role.split("+")]
    send([pid for pids in each for pid in pids], signal.SIGKILL)


def jobs(stack: Stack) -> list[int]:
    """The job processes of all executors."""
    return [child for parent in stack.pids("executor") for child in children(parent)]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def frozen(pids: Callable[[], list[int]]) -> Iterator[None]:
    """The processes stand still; those of the same role that come later do not."""
    stopped = pids()
    send(stopped, signal.SIGSTOP)
    try:
        yield
    finally:
        send(stopped, signal.SIGCONT)


@contextmanager
def frozen_as_soon_as_collecting(stack: Stack, run: RunId) -> Iterator[None]:
    stopped = jobs(stack)
    GO.touch()
    stack.phase(run, "collecting")
    send(stopped, signal.SIGSTOP)
    try:
        stack.phase(run, "collecting")
        yield
    finally:
        send(stopped, signal.SIGCONT)


@contextmanager
def held_in(stack: Stack, phase: str, run: Callable[[], RunId]) -> Iterator[RunId]:
    """The run stands in `phase` as long as this lasts."""
    if phase == "preparing":
        with (stack.state_dir / "locks/accounts").open("a") as counter:
            fcntl.flock(counter, fcntl.LOCK_EX)
            made = run()
            stack.phase(made, "preparing")
            yield made
        return
    made = run()
    stack.phase(made, "running")
    until(lambda: Path(f"/tmp/pid-{made.task_id}-0").exists(), "the command runs")
    if phase == "running":
        yield made
        return
    if phase == "collecting":
        with frozen_as_soon_as_collecting(stack, made):
            yield made
        return
    freeze = {
        "uploading": lambda: stack.pids("uploader"),
        "finishing": lambda: stack.pids("signer"),
        "resolving": lambda: stack.pids("claimer"),
    }[phase]
    with frozen(freeze):
        GO.touch()
        stack.phase(made, {"resolving": "uploaded"}.get(phase, phase))
        yield made


@pytest.fixture(autouse=True)
def no_go() -> Iterator[None]:
    GO.unlink(missing_ok=True)
    yield
    GO.unlink(missing_ok=True)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("phase", PHASES)
def test_a_run_survives_the_kill(stack: Stack, phase: str, role: str) -> None:
    directories = 2500 if phase == "collecting" else 1
    with held_in(stack, phase, lambda: signed(stack, directories)) as run:
        kill(stack, role)
    GO.touch()
    check(stack, run, lost_a_run=role in ("executor", "job") and phase in ("preparing", "running"))


def check(stack: Stack, run: RunId, lost_a_run: bool) -> None:
    if lost_a_run:
        assert stack.resolution(run) == ("exception", "worker-shutdown")
        assert "worker-shutdown" in stack.log(run) or "died" in stack.log(run)
        run = RunId(run.task_id, 1)
    assert stack.resolution(run, 90) == ("completed", "completed"), stack.log(run)
    assert len(stack.runs(run)) == run.run_id + 1
    artifacts = stack.artifacts(run)
    assert sum(name.startswith("public/many/") for name in artifacts) == FILES
    assert stack.get(run, f"public/many/{FILES}.txt") == f"{FILES}\n".encode()
    assert {"public/chainOfTrust.json.asc", "public/chain-of-trust.json", "public/chain-of-trust.json.sig"} <= set(
        artifacts
    )
    until(lambda: not what_is_left(stack, run), f"nothing is left, not even {what_is_left(stack, run)}", 20, 0.1)


def what_is_left(stack: Stack, run: RunId) -> list[object]:
    """Processes, users, directories, control groups and proxy entries of any run."""
    users = [entry.pw_uid for entry in pwd.getpwall() if entry.pw_dir.startswith(str(stack.state_dir))]
    directories = [path.name for path in (stack.state_dir / "tasks").iterdir() if not path.name.startswith(".")]
    groups = [path for parent in Path("/sys/fs/cgroup").glob("*/taskward-*") for path in parent.glob(f"{run.task_id}*")]
    processes = [path for path in Path("/proc").glob("[0-9]*") if in_task(path, stack)]
    peers = stack.redis().keys("tw:peer:*")
    return [*users, *directories, *groups, *processes, *peers]


def in_task(process: Path, stack: Stack) -> bool:
    try:
        return (process / "cwd").readlink().is_relative_to(stack.state_dir / "tasks")
    except OSError:
        return False


@pytest.mark.parametrize("phase", ["running", "uploading"])
def test_supervisord_killed_and_started_again(stack: Stack, phase: str) -> None:
    with held_in(stack, phase, lambda: signed(stack)) as run:
        send([stack.supervisor_pid()], signal.SIGKILL)
    until(lambda: stack.command("up", "--detach").returncode == 0, "it starts again", 60)
    GO.touch()
    check(stack, run, lost_a_run=phase == "running")


@pytest.mark.parametrize("phase", ["running", "uploading"])
def test_everything_killed_at_once_and_started_again(stack: Stack, phase: str) -> None:
    with held_in(stack, phase, lambda: signed(stack)) as run:
        roles = [row["pid"] for row in stack.status()["roles"] if row["pid"]]
        send([stack.supervisor_pid(), *roles], signal.SIGKILL)
    until(lambda: stack.command("up", "--detach").returncode == 0, "it starts again", 60)
    GO.touch()
    check(stack, run, lost_a_run=phase == "running")


def signed(stack: Stack, directories: int = 1) -> RunId:
    artifacts = [{"type": "directory", "path": "many", "name": "public/many"}]
    env = {"DIRECTORIES": str(directories)}
    return stack.create([COMMAND], env=env, artifacts=artifacts, features={"chainOfTrust": True})


def test_sigterm_to_supervisord_gives_the_run_back_within_the_grace_time(stack: Stack) -> None:
    run = stack.create([["sh", "-c", "echo begun; sleep 300"]])
    stack.phase(run, "running")
    began = time.monotonic()
    send([stack.supervisor_pid()], signal.SIGTERM)
    assert stack.resolution(run, 25) == ("exception", "worker-shutdown")
    assert time.monotonic() - began < 20
    assert "begun" in stack.log(run)
    until(lambda: stack.command("status").returncode != 0, "everything is gone", 30)
    assert [row["state"] for row in stack.runs(run)] == ["exception", "pending"], (
        "the free slot did not take the next run"
    )
