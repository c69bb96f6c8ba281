"""Uploads beside curl, to the same nginx: one big file; many small ones. ``python tests/bench/bench_upload.py [--quick]``.

nginx answers createArtifact with a fixed text and stores what is PUT, so that what is measured is the uploader: its
real process, on a real Redis, createArtifact and the manifest included. curl does the PUT alone.
"""

import argparse
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulators.redis import RedisServer
from taskward.core.layout import Layout
from taskward.core.outbox import balance
from uploader.cloud import Cloud
from uploader.site import Site, wait_until

_CONFIGURATION = """
daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log; worker_processes 1; user root;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {dir}/body; client_body_buffer_size 1m;
  keepalive_requests 1000000;
  server {{
    listen 127.0.0.1:{port};
    location /api/ {{
      default_type application/json;
      return 200 '{{"storageType": "s3", "putUrl": "http://127.0.0.1:{port}/put/$request_id"}}';
    }}
    location /put/ {{ root {dir}; dav_methods PUT; create_full_put_path on; }}
  }}
}}
"""


@dataclass
class Nginx:
    """Storage that costs next to nothing."""

    directory: Path

    def __enter__(self) -> Self:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        path = self.directory / "nginx.conf"
        path.write_text(_CONFIGURATION.format(dir=self.directory, port=self.port))
        self._process = subprocess.Popen(["nginx", "-c", str(path), "-p", str(self.directory), "-e", "stderr"])
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", self.port)) == 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def forget(self) -> None:
        shutil.rmtree(self.directory / "put", ignore_errors=True)


@dataclass
class Bench:
    """Both ways of sending the same files."""

    directory: Path
    redis: RedisServer
    nginx: Nginx

    def uploader(self, count: int, size_bytes: int) -> float:
        """Seconds from the fan-out until every file is in the manifest."""
        client = self.redis.client()
        for key in client.keys("*"):
            client.delete(key)
        state_dir = Path(tempfile.mkdtemp(prefix="s", dir=self.directory))
        site = Site(client, self.redis, Cloud(), Layout(state_dir), root_url=self.nginx.url)
        piece = bytes(range(256)) * 4096
        entries = tuple(
            site.file(f"public/{n}", (piece * (size_bytes // len(piece) + 1))[:size_bytes]) for n in range(count)
        )
        process = site.process()
        wait_until(lambda: list(site.layout.locks("upload").iterdir()))
        time.sleep(0.3)
        began = time.perf_counter()
        site.left_by_the_executor(*entries, batches=balance(entries, 1), live="", backing="")
        wait_until(lambda: site.record.phase in ("finishing", "uploaded"), 120)
        took = time.perf_counter() - began
        process.terminate()
        shutil.rmtree(state_dir)
        self.nginx.forget()
        return took

    def curl(self, count: int, size_bytes: int) -> float:
        """Seconds of one curl after the other."""
        file = self.directory / "file"
        file.write_bytes((bytes(range(256)) * (size_bytes // 256 + 1))[:size_bytes])
        loop = f"i=0; while [ $i -lt {count} ]; do curl -sS -o /dev/null -T {file} {self.nginx.url}/put/c$i; i=$((i+1)); done"
        began = time.perf_counter()
        subprocess.run(["sh", "-c", loop], check=True)
        took = time.perf_counter() - began
        self.nginx.forget()
        return took

    def compare(self, what: str, count: int, size_bytes: int, rounds: int, goal: float) -> bool:
        """Prints a line: medians, taken in turns."""
        pairs = [(self.curl(count, size_bytes), self.uploader(count, size_bytes)) for _ in range(rounds)]
        curl, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(f"{what:28}{curl:10.3f} s{ours:12.3f} s{curl / ours:10.2f} ×   (goal ≥ {goal} ×)")
        return curl / ours >= goal


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, smaller files")
    quick = parser.parse_args().quick
    big, rounds = (256 << 20, 1) if quick else (1 << 30, 5)
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    directory = Path(tempfile.mkdtemp(prefix="twbench", dir=place))
    directory.chmod(0o755)
    print(f"{'':28}{'curl':>12}{'uploader':>14}{'faster':>12}")
    try:
        with RedisServer() as redis, Nginx(directory) as nginx:
            bench = Bench(directory, redis, nginx)
            checks: list[Callable[[], bool]] = [
                lambda: bench.compare(f"1 file of {big >> 20} MiB", 1, big, rounds, 0.9),
                lambda: bench.compare("1000 files of 4 KiB", 200 if quick else 1000, 4096, rounds, 10),
            ]
            return 0 if all([check() for check in checks]) else 1
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
