"""Tasks in containers: overhead beside a plain ``docker run``, output, a large artifact.

``python tests/bench/bench_docker.py [--quick]``, as root, on a machine with a Docker daemon.
"""

import argparse
import json
import statistics
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from docker.api.client import APIClient

sys.path.insert(0, str(Path(__file__).parent.parent))

from integration.stack import Stack
from simulators.docker import busybox_image, connect
from simulators.patience import until
from taskward.core.ids import RunId

LIMIT_OVERHEAD_MS = 250


def seconds(stack: Stack, run: RunId) -> float:
    """From the claim to the resolution, by the queue's own clock."""
    found = stack.runs(run)[0]
    return (datetime.fromisoformat(found["resolved"]) - datetime.fromisoformat(found["started"])).total_seconds()


def task_s(stack: Stack, image: str, command: list[str], **more: Any) -> float:
    run, resolution = stack.run(command, image=image, **more)
    assert resolution == ("completed", "completed"), stack.log(run)
    until(lambda: not stack.redis().scard("tw:runs"), "the slot is free")
    return seconds(stack, run)


def plain_s(daemon: APIClient, image: str, command: list[str]) -> tuple[float, int]:
    """What ``docker run --rm -t`` does: create, attach, start, wait, remove; and the bytes that it printed."""
    began, printed = time.monotonic(), 0
    container = daemon.create_container(image, command, tty=True)["Id"]
    stream = daemon.attach_socket(container, {"stdout": 1, "stderr": 1, "stream": 1})
    daemon.start(container)
    while data := stream.read(1 << 18):
        printed += len(data)
    assert daemon.wait(container)["StatusCode"] == 0
    daemon.remove_container(container)
    return time.monotonic() - began, printed


def overhead(stack: Stack, daemon: APIClient, image: str, rounds: int) -> None:
    """In turns, so that both have the same machine."""
    plain, task = [], []
    for _ in range(rounds):
        plain.append(plain_s(daemon, image, ["true"])[0])
        task.append(task_s(stack, image, ["true"]))
    beyond_ms = 1000 * (statistics.median(task) - statistics.median(plain))
    print(f"docker run --rm -t (API)       {1000 * statistics.median(plain):7.0f} ms")
    print(f"task `true`, claim to resolved {1000 * statistics.median(task):7.0f} ms")
    verdict = "ok" if beyond_ms <= LIMIT_OVERHEAD_MS else "MISSED"
    print(f"beyond docker run              {beyond_ms:7.0f} ms (limit {LIMIT_OVERHEAD_MS}) {verdict}")


def output(stack: Stack, daemon: APIClient, image: str, size_mib: int) -> None:
    """A container that prints lines of text, as fast as it can."""
    line = "x" * 1023
    command = ["sh", "-c", f"yes {line} | head -c {size_mib << 20}"]
    plain, _ = plain_s(daemon, image, command)
    task = task_s(stack, image, command)
    print(f"printing {size_mib} MiB: docker run {plain:.1f} s, task {task:.1f} s with upload ({task / plain:.2f}x)")


def artifact(stack: Stack, daemon: APIClient, image: str, size_mib: int) -> None:
    """From the container's file system to the queue; incompressible, under a name that says so."""
    command = ["sh", "-c", f"dd if=/dev/urandom of=/big.zip bs=1M count={size_mib} 2>/dev/null"]
    without = task_s(stack, image, command)
    artifacts = {"public/big.zip": {"type": "file", "path": "/big.zip"}}
    taken = task_s(stack, image, command, artifacts=artifacts) - without
    copied = copy_s(daemon, image, command)
    print(f"docker cp of {size_mib} MiB, read to its end: {copied:.1f} s ({size_mib / copied:.0f} MiB/s)")
    print(f"artifact of {size_mib} MiB from a container: {taken:.1f} s ({size_mib / taken:.0f} MiB/s), upload included")


def copy_s(daemon: APIClient, image: str, command: list[str]) -> float:
    """What the daemon needs to hand out the same file, thrown away: no artifact comes faster."""
    container = daemon.create_container(image, command)["Id"]
    daemon.start(container)
    assert daemon.wait(container)["StatusCode"] == 0
    began = time.monotonic()
    for _ in daemon.get_archive(container, "/big.zip", chunk_size=1 << 20)[0]:
        pass
    taken = time.monotonic() - began
    daemon.remove_container(container)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    daemon = connect()
    image = busybox_image(daemon)
    with Stack({"claim_timeout_s": 600}, executor={"max_log_bytes": 0}) as stack:
        task_s(stack, image, ["true"])
        overhead(stack, daemon, image, 5 if quick else 20)
        output(stack, daemon, image, 64 if quick else 1024)
        artifact(stack, daemon, image, 128 if quick else 1024)
    print(json.dumps({"daemon": daemon.version()["Version"], "driver": daemon.info()["Driver"]}))


if __name__ == "__main__":
    main()
