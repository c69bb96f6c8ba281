"""What the live log costs a task that prints much, and how soon a line reaches a reader.

    python tests/bench/bench_livelog.py [--quick]

Prints a table of medians, each beside its limit measured in the same run. The "task" is ``cat`` of a file of log lines
whose standard output is the log itself; the readers are curl processes, on the same cores as everything else.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway.rig import Gateway, TaskLog
from simulators.redis import RedisServer

LINE = b"[task 2026-11-21T23:05:27.124Z] compiling module number 0123456789 of very many modules, all fine\n"
MIB = 2**20
LIMIT_SLOWDOWN = 1.10
LIMIT_LAG_P99_MS = 250.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Cost and lag of the live log.")
    parser.add_argument("--quick", action="store_true", help="256 MiB instead of 1 GiB, fewer rounds")
    quick = parser.parse_args().quick
    size_mib, rounds, lines = (256, 5, 100) if quick else (1024, 9, 400)
    with rig() as (gateway, source):
        fill(source, size_mib * MIB)
        print(f"live log: {size_mib} MiB, medians of {rounds} rounds; lag of {lines} lines\n")
        print_cost(gateway, source, rounds)
        print_lag(gateway, lines)


@contextmanager
def rig() -> Iterator[tuple[Gateway, Path]]:
    """A running gateway and the place of the task's output, both in memory where there is room."""
    memory = Path("/dev/shm")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="twb", dir=memory if memory.is_dir() else None))
        logs_dir = Path(folder) / "logs"
        logs_dir.mkdir()
        gateway = Gateway(stack.enter_context(RedisServer()), logs_dir=str(logs_dir))
        stack.callback(gateway.remove)
        gateway.logs_dir = logs_dir
        yield gateway.start(), Path(folder) / "source"


def fill(source: Path, size_bytes: int) -> None:
    """A file of log lines."""
    block = LINE * (MIB // len(LINE))
    with source.open("wb") as file:
        while file.tell() < size_bytes:
            file.write(block)


def print_cost(gateway: Gateway, source: Path, rounds: int) -> None:
    """The task's time with 0, 1 and 4 readers beside ``cat > file`` of the same round."""
    cases: dict[str, Callable[[], tuple[float, float]]] = {
        "cat > file": lambda: (print_to_file(gateway.logs_dir / "plain", source), float("nan")),
        "live log, no reader": lambda: print_to_log(gateway, source, 0),
        "live log, 1 reader": lambda: print_to_log(gateway, source, 1),
        "live log, 4 readers": lambda: print_to_log(gateway, source, 4),
    }
    taken: list[list[tuple[float, float]]] = []
    for _ in range(rounds + 1):  # in turns, so that a noisy minute hits all alike
        taken.append([measure() for measure in cases.values()])
    del taken[0]  # it warmed up
    size_mb = source.stat().st_size / 1e6
    print(f"{'':22}{'task s':>8}{'best':>8}{'MB/s':>8}{'x cat':>8}{'readers done s':>16}")
    for number, name in enumerate(cases):
        times = [each[number][0] for each in taken]
        task, done = statistics.median(times), statistics.median(each[number][1] for each in taken)
        print(f"{name:22}{task:8.3f}{min(times):8.3f}{size_mb / task:8.0f}{slowdown(taken, number):8.2f}{done:16.3f}")
    one = slowdown(taken, 2)
    print(f"limit for 1 reader: x {LIMIT_SLOWDOWN:.2f}: {'kept' if one <= LIMIT_SLOWDOWN else 'MISSED'}")
    print(f"gateway process: {resident_mib(gateway):.0f} MiB resident at most\n")


def slowdown(taken: list[list[tuple[float, float]]], case: int) -> float:
    """The task's time over that of ``cat > file`` in the same round; the median of all rounds."""
    return statistics.median(each[case][0] / each[0][0] for each in taken)


def print_to_file(path: Path, source: Path) -> float:
    """Seconds that ``cat`` takes to append `source` to a new file."""
    with path.open("ab") as file:
        began = time.monotonic()
        subprocess.run(["cat", str(source)], stdout=file, check=True)
        taken = time.monotonic() - began
    path.unlink()
    return taken


def print_to_log(gateway: Gateway, source: Path, readers: int) -> tuple[float, float]:
    """Seconds until the task had printed, and until every reader had everything."""
    log = gateway.log()
    url = f"http://127.0.0.1:{gateway.port}/log/{log.token}"
    command = ["curl", "--silent", "--no-buffer", "--output", "/dev/null", "--write-out", "%{size_download}", url]
    followers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(readers)]
    while gateway.metric("readers") < readers:
        time.sleep(0.01)
    with log.path.open("ab") as file:
        began = time.monotonic()
        subprocess.run(["cat", str(source)], stdout=file, check=True)
        task = time.monotonic() - began
    log.finish()
    got = [int(follower.communicate()[0]) for follower in followers]
    done = time.monotonic() - began
    if any(size != source.stat().st_size for size in got):
        raise RuntimeError(f"a reader is not complete: {got}")
    log.path.unlink()
    return task, done if readers else float("nan")


def print_lag(gateway: Gateway, lines: int) -> None:
    """How long a line takes from the task's write to a reader, with few and with many readers on the log."""
    kept = True
    print(f"{'lag of a line, ms':22}{'p50':>8}{'p99':>8}{'max':>8}")
    for name, others in (("1 reader", 0), ("500 readers more", 500)):
        log = gateway.log()
        idle = [gateway.read(log) for _ in range(others)]
        for reader in idle:
            reader.head()
        lags = sorted(measure_lags(gateway, log, lines))
        log.finish()
        for reader in idle:
            reader.sock.close()
        p50, p99 = (1000 * lags[int(len(lags) * part)] for part in (0.5, 0.99))
        print(f"{name:22}{p50:8.1f}{p99:8.1f}{1000 * lags[-1]:8.1f}")
        kept &= p99 <= LIMIT_LAG_P99_MS
    print(f"limit of p99: {LIMIT_LAG_P99_MS:.0f} ms: {'kept' if kept else 'MISSED'}")


def measure_lags(gateway: Gateway, log: TaskLog, lines: int) -> list[float]:
    """Seconds from the write of each line to its arrival; the pauses wander, so that no rhythm is met."""
    lags = []
    with gateway.read(log) as reader:
        reader.head()
        for number in range(lines):
            time.sleep(0.005 + 0.0017 * (number % 40))
            began = time.monotonic()
            log.write(LINE)
            received = 0
            while received < len(LINE):
                received += len(reader.some(1))
            lags.append(time.monotonic() - began)
    return lags


def resident_mib(gateway: Gateway) -> float:
    """The largest resident size of the serving process so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{gateway.worker_pid}/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


if __name__ == "__main__":
    main()
