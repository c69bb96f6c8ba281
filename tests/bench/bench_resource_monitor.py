"""What the resource monitor costs a worker: processor time for each second of a task, beside the promise of 1 %.

``python tests/bench/bench_resource_monitor.py [--quick]``; exit code 1 when the goal is missed.

Measured is the process that waits for a task's commands, as the kernel counts it, with the feature and without, while
the task does nothing: with one process, and with many, which cost most where no control group counts for them.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from executor.bench import Bench, JobProcess, shell
from simulators.redis import RedisServer

LIMIT_PERCENT = 1.0
_MANY = 200


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Overhead of features.resourceMonitor.")
    parser.add_argument("--quick", action="store_true", help="shorter and fewer rounds")
    seconds, rounds = (3.0, 1) if parser.parse_args().quick else (8.0, 3)
    print(f"resource monitor: {rounds} × {seconds:g} s, processor time of the process that waits, per second of task\n")
    within = True
    with RedisServer() as redis, tempfile.TemporaryDirectory(prefix="tw") as directory:
        Path(directory).chmod(0o711)
        with Bench(redis, Path(directory)) as bench:
            for processes in (1, _MANY):
                without = statistics.median(spent(bench, processes, seconds, on=False) for _ in range(rounds))
                beside = statistics.median(spent(bench, processes, seconds, on=True) for _ in range(rounds))
                percent = (beside - without) * 100
                within = within and percent <= LIMIT_PERCENT
                print(
                    f"{processes:4} processes   without {without * 1000:6.3f} ms/s   with {beside * 1000:6.3f} ms/s   "
                    f"overhead {percent:6.3f} % of a core (limit {LIMIT_PERCENT:g} %)"
                )
    return int(not within)


def spent(bench: Bench, processes: int, seconds: float, *, on: bool) -> float:
    """Processor seconds for each second of a task that sleeps."""
    script = f"i=1; while [ $i -lt {processes} ]; do sleep 100 & i=$((i+1)); done; echo up; sleep 100"
    run = bench.claim({"command": shell(script), "maxRunTime": 90, "features": {"resourceMonitor": on}})
    job = bench.start(run)
    bench.wait_until(lambda: bench.has_log(run) and "up" in bench.result(run).output)
    began, used_s = time.monotonic(), used(job)
    time.sleep(seconds)
    used_s, passed_s = used(job) - used_s, time.monotonic() - began
    bench.records.abort(run, "canceled")
    job.wait()
    return used_s / passed_s


def used(job: JobProcess) -> float:
    """Processor seconds of all threads of a process so far: the scheduler counts nanoseconds."""
    threads = Path(f"/proc/{job.pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


if __name__ == "__main__":
    sys.exit(main())
