"""What a hostile task might try against its worker, and against the tasks beside it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executor.bench import Bench, JobProcess, shell
from taskward.core.commands import text
from taskward.core.ids import RunId
from taskward.executor import collect
from taskward.executor.plan import Plan
from taskward.executor.reader import Opened, Reader

pytestmark = pytest.mark.root

STAY = shell("echo ready; sleep 1000")


@pytest.fixture
def neighbour(bench: Bench) -> Iterator[RunId]:
    """Another task that runs at the same time, with a secret in its environment and in a file."""
    payload = {"command": shell("echo secret > f; chmod 777 f; echo ready; sleep 1000"), "maxRunTime": 900,
               "env": {"TOKEN": "secret"}, "features": {"taskclusterProxy": True}}  # fmt: skip
    run = bench.claim(payload)
    job = bench.start(run)
    bench.wait_until(lambda: bench.has_log(run) and "ready" in bench.result(run).output)
    yield run
    bench.records.abort(run, "canceled")
    assert job.wait() == 0


@pytest.mark.parametrize(
    "deed",
    [
        "rm -rf $PWD",
        "cd /; rm -rf $TASK_WORKDIR; ln -s /etc $TASK_WORKDIR",
        "chmod 0 $PWD",
        "mkdir -p $(printf 'a/%.0s' {1..1500})",
        "chmod 777 .; mkdir d; chmod 0 d; ln -s / root",
    ],
)
def test_a_task_harms_only_its_own_directory(bench: Bench, deed: str) -> None:
    before = settled_files_of_etc()
    result = bench.run(
        shell(f"{deed} 2> /dev/null; true"), artifacts=[{"type": "directory", "path": ".", "optional": True}]
    )

    assert result.outcome.succeeded
    assert not bench.layout.task_directory(result.record.run).exists()
    assert settled_files_of_etc() == before


def test_the_user_of_a_task_has_no_subordinate_ids(bench: Bench) -> None:
    """The next user would have the same, and with them what this one left."""
    result = bench.run(shell("id -un; grep -c $(id -un): /etc/subuid /etc/subgid"))

    assert [line.partition(":")[2] for line in result.output[1:]] == ["0", "0"]


def settled_files_of_etc() -> list[str]:
    """Without the account files, which come and go while other workers on this machine make users."""
    accounts = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid", ".pwd.lock")
    return sorted(path.name for path in Path("/etc").iterdir() if not path.name.startswith(accounts))


def test_the_log_can_only_grow(bench: Bench) -> None:
    deeds = """
        echo first
        truncate -s 0 /proc/$$/fd/1; : > /proc/$$/fd/1
        python3 - <<'END'
import fcntl, os
for deed in (lambda: os.ftruncate(1, 0), lambda: fcntl.fcntl(1, fcntl.F_SETFL, 0), lambda: os.pwrite(1, b"xxxx", 0),
             lambda: os.open("/proc/self/fd/1", os.O_RDONLY)):
    try: deed()
    except OSError: pass
END
        true"""
    result = bench.run(shell(deeds))

    assert result.log.startswith("[taskcluster ")
    assert "\nfirst\n" in result.log
    assert "Exit Code: 0" in result.log


def test_a_file_that_somebody_still_writes_is_copied(bench: Bench) -> None:
    payload = {"command": shell("echo x > f; chmod 666 f; echo ready; sleep 1000"), "maxRunTime": 900,
               "artifacts": [{"type": "file", "path": "f"}]}  # fmt: skip
    run = bench.claim(payload)
    job = bench.start(run)
    bench.wait_until(lambda: bench.has_log(run) and "ready" in bench.result(run).output)
    with (bench.layout.task_directory(run) / "f").open("a") as accomplice:
        job.terminate()
        assert job.wait() == 0
        accomplice.write("later")
    assert bench.result(run).content("f") == b"x\n"


def test_a_hard_link_to_a_foreign_file_is_a_copy(bench: Bench, state_dir: Path) -> None:
    public = state_dir / "public"
    public.write_text("theirs")
    public.chmod(0o666)
    result = bench.run(shell(f"ln {public} f; cat f"), artifacts=[{"type": "file", "path": "f"}])

    assert public.read_text() == "theirs"
    assert public.stat().st_mode & 0o777 == 0o666
    if result.entries["f"].file:
        assert result.content("f") == b"theirs"


def test_a_directory_that_becomes_a_link_after_the_walk_gives_nothing_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process of the task is alive then; still, the moves trust no path."""
    (bench.state_dir / "d").mkdir(mode=0o700)
    (bench.state_dir / "d" / "f").write_text("secret")
    moves = collect.move_all

    def swap(plan: Plan, reader: Reader, outbox: Path, uid: int, *, copy: bool = False) -> None:
        home = outbox.parent.parent / "tasks" / outbox.name
        (home / "d").rename(home / "e")
        (home / "d").symlink_to(bench.state_dir / "d")
        moves(plan, reader, outbox, uid, copy=copy)

    monkeypatch.setattr(collect, "move_all", swap)
    result = bench.run(shell("mkdir d; echo mine > d/f"), artifacts=[{"type": "directory", "path": "d"}])

    assert result.entries["d/f"].reason == "file-not-readable-on-worker"
    assert (bench.state_dir / "d" / "f").read_text() == "secret"


def test_a_name_that_comes_to_mean_another_file_is_not_moved(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    opens = Reader.open

    def swap(reader: Reader, path: str) -> Opened:
        opened = opens(reader, path)
        Path(path).unlink()
        Path(path).write_text("other")
        return opened

    monkeypatch.setattr(Reader, "open", swap)
    result = bench.run(shell("echo mine > f"), artifacts=[{"type": "file", "path": "f"}])

    assert result.content("f") == b"mine\n"


@pytest.mark.parametrize(
    "probe",
    [
        "cat {home}/f",
        "ls {home}",
        "cat /proc/{pid}/environ",
        "ls -l /proc/{pid}/cwd",
        "cat /proc/{pid}/root{home}/f",
        "kill -9 {pid}",
        "cat {log}",
        "ls {logs}/..",
        "ls {tasks}",
        "ls {outbox}",
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"{redis}\")'",
        "cat {password}",
        "cat /proc/{job}/environ",
        "cat /proc/{job}/mem",
        "ls /proc/{job}/fd",
        "echo 0 > {cgroup}/cgroup.procs",
        "echo 1 > {cgroup}/cgroup.kill",
    ],
)
def test_a_task_cannot_reach_its_neighbour_or_the_worker(bench: Bench, neighbour: RunId, probe: str) -> None:
    uid = bench.uid_of(neighbour)
    address = bench.server.address("executor")
    bench.layout.logs.chmod(0o750)
    (bench.state_dir / "outbox").mkdir(exist_ok=True)
    (bench.state_dir / "outbox").chmod(0o750)
    owner = bench.result(neighbour).record.owner
    names = {
        "home": bench.layout.task_directory(neighbour), "pid": min(bench.processes_of(uid)), "redis": address.socket,
        "log": bench.layout.log_directory(neighbour) / "live.log", "logs": bench.layout.log_directory(neighbour),
        "tasks": bench.layout.tasks, "outbox": bench.state_dir / "outbox", "password": address.password_file,
        "job": owner.split("-")[-2], "cgroup": _cgroup(bench, neighbour),
    }  # fmt: skip

    result = bench.run(shell(probe.format(**names)))

    assert result.outcome.state == "failed"
    assert "secret" not in result.output
    assert "denied" in result.log or "not permitted" in result.log
    assert bench.processes_of(uid)


def _cgroup(bench: Bench, run: RunId) -> Path:
    pid = min(bench.processes_of(bench.uid_of(run)))
    inside = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1].split(":")[2]
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if " cgroup2 " in line]
    if not mounts or inside == "/":
        pytest.skip("no version 2 control groups here")
    return Path(mounts[0] + inside)


def test_two_runs_never_share_a_user_or_an_address(bench: Bench, neighbour: RunId) -> None:
    result = bench.run(shell("id -u; id -un; echo $TASKCLUSTER_PROXY_URL"), features={"taskclusterProxy": True})

    uid, name, url = result.output
    assert int(uid) != bench.uid_of(neighbour)
    assert name.startswith("task_")
    peers = [text(key) for key in bench.redis.keys("tw:peer:*")]
    assert len(peers) == 1
    assert url != f"http://{peers[0].removeprefix('tw:peer:')}:60080"


def test_task_ids_with_the_same_beginning_get_different_users(bench: Bench) -> None:
    runs = [RunId(f"AAAAAAAAQAaAAAAAAA{end}AA", 0) for end in ("AA", "BB")]
    jobs: list[tuple[RunId, JobProcess]] = []
    for run in runs:
        payload: Any = {"command": STAY, "maxRunTime": 900}
        until = bench.result(bench.claim(payload)).record.taken_until
        definition = bench.result(next(iter(bench.records.active()))).record.definition
        assert bench.records.claim(run, definition, until, "here", "w-1", "{}")
        jobs.append((run, bench.start(run)))
    for run, _ in jobs:
        bench.wait_until(lambda run=run: bench.has_log(run) and "ready" in bench.result(run).output)  # type: ignore[misc]
    uids = {bench.uid_of(run) for run in runs}
    for run, job in jobs:
        bench.records.abort(run, "canceled")
        assert job.wait() == 0

    assert len(uids) == 2


def test_a_task_cannot_bring_its_user_back_through_a_daemon(bench: Bench) -> None:
    """A process of the task's user outside of its control group dies as well."""
    run = bench.claim({"command": STAY, "maxRunTime": 900})
    job = bench.start(run)
    bench.wait_until(lambda: bench.has_log(run) and "ready" in bench.result(run).output)
    uid = bench.uid_of(run)
    stray = subprocess.Popen(["sleep", "1000"], user=uid, start_new_session=True)
    bench.records.abort(run, "canceled")

    assert job.wait() == 0
    assert stray.wait(5) == -9


def test_the_address_of_a_dead_run_is_given_back(bench: Bench) -> None:
    bench.run([["true"]], features={"taskclusterProxy": True})

    assert bench.redis.keys("tw:peer:*") == []


LEFT = """
import ctypes, os
libc, rt = ctypes.CDLL(None), ctypes.CDLL("librt.so.1")
print("ids", libc.shmget(0x7461736B, 4096, 0o1666), libc.semget(0x7461736B, 1, 0o1666), libc.msgget(0x7461736B, 0o1666))
print("queue", rt.mq_open(b"/taskward-left", 0o102, 0o666, None) >= 0)
for place in ("/tmp", "/var/tmp", "/dev/shm", "/run/lock"):
    if os.access(place, os.W_OK):
        os.makedirs(f"{place}/{os.environ['TASK_ID']}/d")
        os.chmod(f"{place}/{os.environ['TASK_ID']}", 0)
"""


def test_nothing_is_left_where_everybody_may_write(bench: Bench) -> None:
    result = bench.run([["python3", "-c", LEFT]])

    assert result.outcome.succeeded, result.log
    task_id = result.record.run.task_id
    assert [place for place in ("/tmp", "/var/tmp", "/dev/shm", "/run/lock") if Path(place, task_id).exists()] == []


@pytest.mark.skipif(
    subprocess.run(["unshare", "--ipc", "true"], capture_output=True, check=False).returncode != 0,
    reason="no namespaces can be made here",
)
def test_kernel_objects_are_neither_left_nor_seen_by_another_task(bench: Bench) -> None:
    assert "queue True" in bench.run([["python3", "-c", LEFT]]).output
    for kind in ("shm", "sem", "msg"):
        assert f" {0x7461736B} " not in Path(f"/proc/sysvipc/{kind}").read_text()
    seen = "import ctypes; print(*(ctypes.CDLL(None).shmget(0x7461736B, n, 0) for n in (0, 4096)))"
    assert bench.run([["python3", "-c", seen]]).output == ["-1 -1"]
