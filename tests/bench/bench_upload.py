"""Uploads beside curl, to the same nginx: one big file, many small ones; several uploaders; the last step alone.

``python tests/bench/bench_upload.py [--quick]``; exit code 1 when a goal is missed.

nginx answers createArtifact with a fixed text and stores what is PUT, so that what is measured is the uploader: its
real process on a real Redis, createArtifact and manifest included. curl does the PUT alone.

Beside each figure stands what limits it. One file: curl; for a task with chain of trust, whose artifacts are hashed,
the slowest of curl, SHA-256, and the processor time of both (with nginx's) over all processors of the machine. Many:
the uploader's own processor time, and what nginx takes of the same requests made beforehand. At a round-trip of 50 ms:
these requests, too.
"""

import argparse
import hashlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import bare
from simulators.patience import until
from simulators.redis import RedisServer
from taskward.core.layout import Layout
from taskward.core.outbox import balance
from taskward.core.settings import UploaderSettings
from uploader.cloud import Cloud
from uploader.site import Site, UploaderProcess

_CONFIGURATION = """
daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log; worker_processes 1; {user}
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {dir}/body; client_body_buffer_size 1m;
  keepalive_requests 1000000;
  server {{
    listen 127.0.0.1:{port};
    location /api/ {{
      default_type application/json;
      return 200 '{{"storageType": "s3", "putUrl": "http://$http_host/put/$request_id"}}';
    }}
    location /put/ {{ root {dir}; dav_methods PUT; create_full_put_path on; }}
  }}
}}
"""
_GIB = 1 << 30
_ROUND_TRIP_S = 0.05
_AT_ONCE = UploaderSettings().concurrency
_PIECE_BYTES = 1 << 20


@dataclass
class Nginx:
    """Storage that costs next to nothing."""

    directory: Path

    def __enter__(self) -> Self:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        path = self.directory / "nginx.conf"
        user = "user root;" if Path("/root").owner() == Path(self.directory).owner() else ""
        path.write_text(_CONFIGURATION.format(dir=self.directory, port=self.port, user=user))
        self._process = subprocess.Popen(["nginx", "-c", str(path), "-p", str(self.directory), "-e", "stderr"])
        until(lambda: _answers(self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        return bare.cpu_s(self._process.pid)

    def forget(self) -> None:
        shutil.rmtree(self.directory / "put", ignore_errors=True)


@contextmanager
def distant(url: str, directory: Path) -> Iterator[str]:
    """The same server at a round-trip of 50 ms."""
    port, round_trip = int(url.rpartition(":")[2]), directory / "round_trip_s"
    round_trip.write_text(str(_ROUND_TRIP_S))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        near = int(probe.getsockname()[1])
    program = Path(__file__).parents[1] / "cluster/latency.py"
    relay = subprocess.Popen([sys.executable, str(program), str(near), "127.0.0.1", str(port), str(round_trip)])
    try:
        until(lambda: _answers(near))
        yield f"http://127.0.0.1:{near}"
    finally:
        relay.terminate()
        relay.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Taken:
    """What something took: seconds, and processor time of all who had to do with it."""

    wall_s: float
    cpu_s: float


@dataclass
class Bench:
    """Places and servers."""

    directory: Path
    redis: RedisServer
    nginx: Nginx

    @contextmanager
    def site(self, root_url: str, processes: int) -> Iterator[Site]:
        """A fresh run, and uploaders that wait for it."""
        with closing(self.redis.client()) as client:
            for key in client.keys("*"):
                client.delete(key)
            state_dir = Path(tempfile.mkdtemp(prefix="s", dir=self.directory))
            site = Site(client, self.redis, Cloud(), Layout(state_dir), root_url=root_url)
            started: list[UploaderProcess] = [site.process() for _ in range(processes)]
            until(lambda: len(list(site.layout.locks("upload").iterdir())) == processes)
            time.sleep(0.3)
            yield site
            for process in started:
                process.terminate()
        shutil.rmtree(state_dir)
        self.nginx.forget()

    def _file(self, size_bytes: int) -> Path:
        """Made once and only linked later: fresh memory is slow on a virtual machine."""
        path = self.directory / f"content-{size_bytes}"
        if not path.exists():
            with path.open("wb") as stream:
                for _ in range(0, size_bytes, _PIECE_BYTES):
                    stream.write(os.urandom(min(_PIECE_BYTES, size_bytes)))
        return path

    def uploader(
        self, root_url: str, count: int, size_bytes: int, processes: int = 1, *, hashed: bool = False
    ) -> Taken:
        """From the fan-out until every file is in the manifest."""
        with self.site(root_url, processes) as site:
            original = self._file(size_bytes)
            entries = tuple(site.linked(f"public/{number}", original) for number in range(count))
            pids = [process.popen.pid for process in site.processes]
            before_s, began = sum(map(bare.cpu_s, pids)), time.perf_counter()
            batches = balance(entries, processes, least_count=1)
            site.left_by_the_executor(*entries, batches=batches, certify=hashed, live="", backing="")
            until(lambda: site.record.phase in ("finishing", "uploaded"), within_s=300)
            return Taken(time.perf_counter() - began, sum(map(bare.cpu_s, pids)) - before_s)

    def bare(self, url: str, count: int, size_bytes: int, connections: int = _AT_ONCE) -> float:
        """Seconds that the server needs for the same requests, made beforehand."""
        content, kind = self._file(size_bytes).read_bytes(), {"Content-Type": "text/plain"}
        creates = [bare.request("POST", f"{url}/api/{n}", kind, b"{}") for n in range(count)]
        puts = [bare.request("PUT", f"{url}/put/b{n}", kind, content) for n in range(count)]
        took = sum(bare.send_all(url, requests, connections)[0] for requests in (creates, puts))
        self.nginx.forget()
        return took

    def curl(self, count: int, size_bytes: int) -> Taken:
        """One curl after the other; nginx's processor time is counted, too."""
        file = self._file(size_bytes)
        one = f"curl -sS -o /dev/null -T {file} {self.nginx.url}/put/c$i"
        loop = f"i=0; while [ $i -lt {count} ]; do {one}; i=$((i+1)); done"
        before_s, began = self.nginx.cpu_s() + _children_cpu_s(), time.perf_counter()
        subprocess.run(["sh", "-c", loop], check=True)
        took = Taken(time.perf_counter() - began, self.nginx.cpu_s() + _children_cpu_s() - before_s)
        self.nginx.forget()
        return took

    def hashing(self, size_bytes: int) -> Taken:
        """SHA-256 alone, which no upload that hashes can beat."""
        file = self._file(size_bytes)
        before_s, began = time.process_time(), time.perf_counter()
        with file.open("rb") as stream:
            hashlib.file_digest(stream, "sha256")
        return Taken(time.perf_counter() - began, time.process_time() - before_s)

    def one_file(self, size_bytes: int, rounds: int, goal: float) -> bool:
        """Medians, taken in turns, since a machine changes its speed while it is measured."""
        rows = []
        for _ in range(rounds):
            curl, hashing = self.curl(1, size_bytes), self.hashing(size_bytes)
            together_s = (curl.cpu_s + hashing.cpu_s) / (os.cpu_count() or 1)
            plain, hashed = (self.uploader(self.nginx.url, 1, size_bytes, hashed=each) for each in (False, True))
            rows.append((curl.wall_s, hashing.wall_s, together_s, plain.wall_s, hashed.wall_s))
        curl_s, hashing_s, together_s, plain_s, hashed_s = map(statistics.median, zip(*rows, strict=True))
        what = f"1 × {_size(size_bytes)}"
        held = _line(f"{what}, curl", curl_s, plain_s, goal)
        _limit(f"{what} hashed, curl", curl_s, hashed_s)
        _limit(f"{what} hashed, SHA-256", hashing_s, hashed_s)
        _limit(f"{what} hashed, both, {os.cpu_count()} CPUs", together_s, hashed_s)
        slowest_s = max(curl_s, hashing_s, together_s)
        return _line(f"{what} hashed, the slowest", slowest_s, hashed_s, goal) and held

    def many_files(self, count: int, size_bytes: int, rounds: int, goal: float) -> bool:
        """Beside one curl after the other."""
        curl, limit, ours, cpu = [], [], [], []
        for _ in range(rounds):
            curl.append(self.curl(count, size_bytes).wall_s)
            limit.append(self.bare(self.nginx.url, count, size_bytes))
            taken = self.uploader(self.nginx.url, count, size_bytes)
            ours.append(taken.wall_s)
            cpu.append(taken.cpu_s)
        what, ours_s = f"{count} × {_size(size_bytes)}", statistics.median(ours)
        _limit(f"{what}, bare requests", statistics.median(limit), ours_s)
        _limit(f"{what}, own processor time", statistics.median(cpu), ours_s)
        return _line(f"{what}, curl", statistics.median(curl), ours_s, goal)

    def several(self, url: str, processes: int, count: int, goal: float) -> bool:
        """At a round-trip of 50 ms, where the waiting is the work."""
        one, more = (self.uploader(url, count, 1024, number).wall_s for number in (1, processes))
        limit_s = self.bare(url, count, 1024, processes * _AT_ONCE)
        what = f"{count} × 1 KiB at 50 ms"
        _limit(f"{what}, bare requests", limit_s, more)
        return _line(f"{what}, 1 → {processes}", one, more, goal)

    def last_step(self, rounds: int) -> None:
        """From the end of a run without artifacts until the claimer's turn: backing log and link."""
        times = []
        for _ in range(rounds):
            with self.site(self.nginx.url, 1) as site:
                began = time.perf_counter()
                site.left_by_the_executor()
                until(lambda site=site: site.record.phase == "uploaded", pause_s=0.001)  # type: ignore[misc] # bound at once
                times.append(time.perf_counter() - began)
        print(f"{'log and link of a small run':34}{statistics.median(times) * 1000:24.1f} ms")


def _children_cpu_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _limit(what: str, limit_s: float, ours_s: float) -> None:
    """What no upload can beat."""
    print(f"{what:34}{limit_s:10.3f} s{ours_s:12.3f} s{limit_s / ours_s:10.2f} ×   (limit)", flush=True)


def _line(what: str, before_s: float, ours_s: float, goal: float) -> bool:
    print(f"{what:34}{before_s:10.3f} s{ours_s:12.3f} s{before_s / ours_s:10.2f} ×   (goal ≥ {goal} ×)", flush=True)
    return before_s / ours_s >= goal


def _size(size_bytes: int) -> str:
    return f"{size_bytes >> 20} MiB" if size_bytes >= 1 << 20 else f"{size_bytes >> 10} KiB"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, fewer and smaller files")
    quick = parser.parse_args().quick
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    directory = Path(tempfile.mkdtemp(prefix="twbench", dir=place))
    directory.chmod(0o755)
    print(f"{'':34}{'before':>12}{'uploader':>14}{'faster':>12}")
    try:
        with RedisServer() as redis, Nginx(directory) as nginx:
            bench = Bench(directory, redis, nginx)
            held = [
                bench.one_file(_GIB // 4 if quick else _GIB, 1 if quick else 5, 0.9),
                bench.many_files(300 if quick else 1000, 4096, 1 if quick else 3, 10),
            ]
            with distant(nginx.url, directory) as url:
                held += [
                    bench.several(url, 2, 200 if quick else 600, 1.8),
                    bench.several(url, 4, 400 if quick else 1200, 3.6),
                ]
            bench.last_step(3 if quick else 9)
        return 0 if all(held) else 1
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
