"""How quickly an interactive shell answers, and how much it can print, beside a bare terminal on the same machine.

    python tests/bench/bench_shell.py [--quick]

The bare terminal is a pty in this process; ``script(1)`` copies one as well. The gateway's shell is a program behind
the gateway's real process, spoken to by web socket.
"""

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway.rig import Gateway
from gateway.shell_rig import Task
from simulators.redis import RedisServer

MIB = 2**20
ECHO = ("sh", "-c", "stty raw -echo; echo; printf ready; exec cat")
Trip = Callable[[bytes], None]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Latency and throughput of the interactive shell.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, less output")
    quick = parser.parse_args().quick
    trips, size_mib, rounds = (300, 16, 3) if quick else (2000, 64, 5)
    print(f"interactive shell: {trips} echoes of one byte; {size_mib} MiB of output, best of {rounds}\n")
    with RedisServer() as redis:
        gateway = Gateway(redis).start()
        try:
            with Task(gateway, redis.client("executor")) as task:
                print_echo("bare terminal", bare_echo, trips)
                print_echo("gateway, web socket", lambda: gateway_echo(task), trips)
                print_output("bare terminal", bare_output, size_mib, rounds)
                print_output("script(1)", script_output, size_mib, rounds)
                print_output("gateway, web socket", lambda size: gateway_output(task, size), size_mib, rounds)
        finally:
            gateway.remove()


def print_echo(name: str, echo: Callable[[], AbstractContextManager[Trip]], trips: int) -> None:
    """Median and 99th percentile of one byte there and back."""
    times = []
    with echo() as trip:
        for number in range(trips):
            began = time.perf_counter()
            trip(b"%c" % (97 + number % 26))
            times.append((time.perf_counter() - began) * 1000)
    p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[98]
    print(f"echo    {name:22} p50 {p50:6.3f} ms   p99 {p99:6.3f} ms")


def print_output(name: str, output: Callable[[int], float], size_mib: int, rounds: int) -> None:
    """The fastest of some rounds."""
    best = min(output(size_mib * MIB) for _ in range(rounds))
    print(f"output  {name:22} {size_mib / best:7.1f} MiB/s")


@contextmanager
def bare_echo() -> Iterator[Trip]:
    """A pty, read and written by us."""
    with terminal(ECHO) as ours:
        seen = b""
        while b"ready" not in seen:
            seen += os.read(ours, 100)

        def trip(data: bytes) -> None:
            os.write(ours, data)
            assert os.read(ours, 100) == data

        yield trip


@contextmanager
def gateway_echo(task: Task) -> Iterator[Trip]:
    """The same through the gateway."""
    with task.terminal() as web:
        web.type(shlex.join(ECHO) + "\r")
        web.until("\nready")

        def trip(data: bytes) -> None:
            web.socket.send_binary(b"\x01" + data)
            assert web.socket.recv() == data

        yield trip


def bare_output(size_bytes: int) -> float:
    """Seconds until we have read it all."""
    received, began = 0, time.perf_counter()
    with terminal(("head", "-c", str(size_bytes), "/dev/zero")) as ours:
        while received < size_bytes:
            received += len(os.read(ours, 65536))
    return time.perf_counter() - began


def script_output(size_bytes: int) -> float:
    """Seconds until script(1) has copied it."""
    began = time.perf_counter()
    command = f"head -c {size_bytes} /dev/zero"
    subprocess.run(["script", "-qfec", command, "/dev/null"], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                   check=True, timeout=300)  # fmt: skip
    return time.perf_counter() - began


def gateway_output(task: Task, size_bytes: int) -> float:
    """Seconds until the web socket has brought it."""
    with task.terminal() as web:
        web.until("$ ")
        received, began = 0, time.perf_counter()
        web.type(f"head -c {size_bytes} /dev/zero\r")
        while received < size_bytes:
            received += len(web.socket.recv())
        return time.perf_counter() - began


@contextmanager
def terminal(argv: tuple[str, ...]) -> Iterator[int]:
    """A program on a pty; our end of it."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        yield ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


if __name__ == "__main__":
    main()
