"""The whole worker: overhead of a task, tasks a minute, memory at rest, time to the first claim.

``python tests/bench/bench_worker.py [--quick]``, as root for the figures of a real installation.
"""

import argparse
import re
import statistics
import sys
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from integration.stack import Stack
from simulators.patience import until
from taskward.core.ids import RunId

LIMIT_OVERHEAD_MS, LIMIT_PSS_MIB, LIMIT_START_S = 150, 200, 3


def overhead_ms(stack: Stack, run: RunId) -> float:
    """From the claim to the resolution, by the queue's own clock."""
    found = stack.runs(run)[0]
    return (moment(found["resolved"]) - moment(found["started"])).total_seconds() * 1000


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def overheads(stack: Stack, count: int) -> list[float]:
    """`true`, one after the other, with live and backing log."""
    times = []
    for _ in range(count):
        run, resolution = stack.run([["true"]])
        assert resolution == ("completed", "completed")
        times.append(overhead_ms(stack, run))
        until(lambda: not stack.redis().scard("tw:runs"), "the slot is free")
    return times


def tasks_a_minute(stack: Stack, count: int) -> float:
    runs = [stack.create([["true"]]) for _ in range(count)]
    for run in runs:
        stack.resolution(run, 300)
    rows = [stack.runs(run)[0] for run in runs]
    first = min(moment(row["started"]) for row in rows)
    return 60 * count / (max(moment(row["resolved"]) for row in rows) - first).total_seconds()


def pss_mib(pid: int) -> float:
    """The process and its children, shared pages divided by their users; 0 for one that has ended meanwhile."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    own = sum(int(size) for size in re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE)) / 1024
    return own + sum(pss_mib(int(child)) for child in children)


def at_rest(stack: Stack) -> dict[str, float]:
    """What each role and the supervisor take, in MiB: medians of some looks, for errands come and go."""
    looks = []
    for _ in range(5):
        time.sleep(1)
        rows = {row["name"]: pss_mib(row["pid"]) for row in stack.status()["roles"] if row["pid"]}
        rows["supervisord"] = pss_mib(stack.supervisor_pid()) - sum(rows.values())
        looks.append(rows)
    return {name: statistics.median(look[name] for look in looks) for name in looks[0]}


def first_claim_s(stack: Stack) -> float:
    """From the start of supervisord to the queue's note of the first claim."""
    stack.stop()
    run = stack.create([["true"]])
    began = time.time()
    stack.start()
    stack.resolution(run)
    return moment(stack.runs(run)[0]["started"]).timestamp() - began


def main() -> None:
    """Prints one line a figure, beside its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats")
    count = 5 if parser.parse_args().quick else 25
    with Stack(worker={"capacity": 2}) as stack:
        overheads(stack, 3)
        times = overheads(stack, count)
        print(f"overhead of `true`, claimed to resolved: median {statistics.median(times):.0f} ms, "
              f"min {min(times):.0f}, max {max(times):.0f} (limit {LIMIT_OVERHEAD_MS} ms)")  # fmt: skip
        print(f"tasks a minute at capacity 2: {tasks_a_minute(stack, count * 4):.0f}")
        rows = at_rest(stack)
        for name, size in rows.items():
            print(f"PSS at rest: {name:12} {size:6.1f} MiB")
        total = sum(size for name, size in rows.items() if name != "redis")
        print(f"PSS at rest: all without Redis {total:.0f} MiB (limit {LIMIT_PSS_MIB} MiB)")
        starts = [first_claim_s(stack) for _ in range(2 if count == 5 else 5)]
        print(f"start to first claim: median {statistics.median(starts):.2f} s (limit {LIMIT_START_S} s)")


if __name__ == "__main__":
    main()
