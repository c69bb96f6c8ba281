"""What a task starts ends with it, and is never more than it may have."""

import ctypes
import resource
import struct
import time
from pathlib import Path

import pytest

from executor.bench import Bench, JobProcess, shell

pytestmark = pytest.mark.root

CAP_SYS_RESOURCE = 24
PR_CAPBSET_DROP = 24


@pytest.mark.parametrize(
    "escape",
    [
        "setsid sleep 1000 &",
        "(setsid bash -c 'setsid sleep 1000 & disown' &)",
        "nohup bash -c 'trap \"\" TERM HUP INT QUIT; while :; do sleep 1; done' > /dev/null 2>&1 &",
        "python3 -c 'import os,time\nfor _ in range(3):\n  if os.fork(): os._exit(0)\n  os.setsid()\ntime.sleep(1000)'",
        "bash -c 'exec -a [kworker/0:1] sleep 1000' &",
        "python3 -c 'import ctypes,os,time; ctypes.CDLL(None).prctl(4,0); os.fork() or time.sleep(1000)'",
        "perl -e 'while(1){fork}' & sleep 0.3",
    ],
)
def test_nothing_of_a_task_survives_it(bench: Bench, escape: str) -> None:
    bench.configure("executor", pids_limit=150)
    uids: set[int] = set()
    result = bench.run(shell(f"id -u; {escape}"))
    uids.add(int(result.output[0]))

    assert result.outcome.succeeded
    assert [bench.processes_of(uid) for uid in uids] == [set()]


def test_no_task_can_have_all_processes_of_the_machine(bench: Bench) -> None:
    kernel = Path("/proc/sys/kernel")
    most = [int((kernel / name).read_text()) // 4 for name in ("pid_max", "threads-max")]

    assert bench.run(shell("ulimit -u")).output == [str(min(16384, *most))]


def test_a_limit_above_what_the_worker_itself_may_have_is_no_obstacle(bench: Bench) -> None:
    bench.configure("executor", pids_limit=0)
    run = bench.claim({"command": shell("ulimit -u"), "maxRunTime": 20})

    def as_in_a_container() -> None:
        resource.setrlimit(resource.RLIMIT_NPROC, (5000, 5000))
        lose_capability(CAP_SYS_RESOURCE)
        bench.execute(run)

    assert JobProcess(as_in_a_container).wait() == 0
    assert bench.result(run).output == ["5000"]


def lose_capability(number: int) -> None:
    """For good, as a container without it: neither this process nor what it starts has it any more."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0
    header, data = struct.pack("<Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
    assert libc.capget(header, data) == 0
    low = [value & ~(1 << number) for value in struct.unpack("<3I", data.raw[:12])]
    assert libc.capset(header, struct.pack("<3I", *low) + data.raw[12:]) == 0


def test_a_fork_bomb_meets_its_limit_and_dies_within_a_second(bench: Bench) -> None:
    bench.configure("executor", pids_limit=100)
    run = bench.claim({"command": shell("bomb() { bomb | bomb & }; bomb; sleep 1000"), "maxRunTime": 900})
    job = bench.start(run)
    bench.wait_for_line(run, "Executing command")
    uid = bench.uid_of(run)
    bench.wait_until(lambda: len(bench.processes_of(uid)) > 50)

    assert len(bench.processes_of(uid)) <= 100
    bench.records.abort(run, "canceled")
    began = time.monotonic()
    assert job.wait() == 0
    assert time.monotonic() - began < 5
    assert bench.processes_of(uid) == set()


def test_memory_beyond_the_limit_is_said_to_be_the_cause(bench: Bench) -> None:
    bench.configure("executor", memory_limit_bytes=64 << 20)
    result = bench.run([["python3", "-c", "x = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): x[i] = 1"]])

    assert result.outcome.state == "failed"
    assert "out of memory: the kernel killed 1 of the task's processes" in result.outcome.message
