"""Mounts: a 1 GiB tar.zst beside ``tar -x --zstd``, the same for a second task, and a cache of 100 000 files.

``python tests/bench/bench_mounts.py [--quick]``; exit code 1 when a goal is missed.

What is measured are real runs of the executor on a real Redis; the times are those of the lines in the task's log, so
neither the download nor what every task costs is in them. tar writes to the same file system.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from executor.bench import Bench, Result, shell
from executor.mounts.web import Request, Web
from simulators.redis import RedisServer

_FILE_BYTES = 1 << 18
_SCOPES = ["generic-worker:cache:*"]


def archive(directory: Path, size_bytes: int) -> Path:
    """Files of which one half can be compressed."""
    chance, path = random.Random(1), directory / "a.tar.zst"
    text = b"the quick brown fox jumps over the lazy dog\n" * (_FILE_BYTES // 88)
    with subprocess.Popen(["zstd", "-q", "-3", "-T0", "-o", str(path)], stdin=subprocess.PIPE) as zstd:
        assert zstd.stdin is not None
        with tarfile.open(fileobj=zstd.stdin, mode="w|") as tar:
            for number in range(size_bytes // _FILE_BYTES):
                info = tarfile.TarInfo(f"d{number % 64}/f{number}")
                info.size = _FILE_BYTES
                data = text + chance.randbytes(_FILE_BYTES - len(text))
                tar.addfile(info, BytesIO(data))
    return path


def moment(result: Result, text: str) -> float:
    """When the log says `text`."""
    line = next(line for line in result.log.splitlines() if text in line)
    return datetime.fromisoformat(line.split("]")[0].split()[-1]).timestamp()


def span_s(result: Result, begin: str, end: str) -> float:
    """Between two lines of the log."""
    return moment(result, end) - moment(result, begin)


def run(bench: Bench, script: str, *mounts: dict[str, Any]) -> Result:
    """A task that completes."""
    run = bench.claim({"command": shell(script), "maxRunTime": 600, "mounts": list(mounts)}, scopes=_SCOPES)
    if os.waitpid(bench.start(run).pid, 0)[1] or not bench.result(run).outcome.succeeded:
        raise AssertionError(bench.result(run).log)
    return bench.result(run)


def tar_s(path: Path, directory: Path) -> float:
    """What tar needs."""
    target = directory / "by-tar"
    target.mkdir()
    began = time.monotonic()
    subprocess.run(["tar", "-x", "--zstd", "-f", str(path), "-C", str(target)], check=True)
    took_s = time.monotonic() - began
    shutil.rmtree(target)
    return took_s


def unpacking(bench: Bench, web: Web, path: Path, rounds: int) -> bool:
    """tar and the executor in turns, after one round of each that does not count."""

    def send(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(path.stat().st_size))
        request.end_headers()
        with path.open("rb") as stream:
            shutil.copyfileobj(stream, request.wfile, 1 << 20)

    content = {"url": web.on("/a", send)}
    mount = {"directory": "d", "format": "tar.zst", "content": content}
    run(bench, "true", {"file": "f", "content": content})
    ours, theirs, again = [], [], []
    for number in range(rounds + 1):
        os.sync()  # what was written before shall not be written to disk meanwhile
        theirs.append(tar_s(path, bench.state_dir))
        os.sync()
        first = run(bench, "true", mount)
        second = run(bench, "true", mount)
        ours.append(span_s(first, "Extracting", "Executing command 0"))
        again.append(span_s(second, "No SHA256 specified", "Executing command 0"))
        shutil.rmtree(bench.state_dir / "unpacked")
        if number == 0:
            ours, theirs, again = [], [], []
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(f"unpack: tar {statistics.median(theirs):.2f} s, mount {statistics.median(ours):.2f} s")
    print(f"        {ratio:.2f} of tar's pace (goal: 0.9)")
    print(f"        second task: {statistics.median(again) * 1000:.0f} ms")
    return ratio >= 0.9


def caches(bench: Bench, files: int, rounds: int) -> bool:
    """A cache with one file and one with many."""
    medians = []
    for name, count in (("few", 1), ("many", files)):
        mount = {"directory": "c", "cacheName": name}
        run(bench, f"cd c && seq {count} | xargs touch", mount)
        hits = [run(bench, "true", mount) for _ in range(rounds)]
        spans = [span_s(each, "Moving existing", "Executing command 0") for each in hits]
        medians.append(statistics.median(spans) * 1000)
    print(f"cache hit: 1 file {medians[0]:.0f} ms, {files} files {medians[1]:.0f} ms (goal: within 20 ms of another)")
    return medians[1] - medians[0] <= 20


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the size, fewer rounds")
    quick = parser.parse_args().quick
    directory = Path(tempfile.mkdtemp(prefix="twm"))
    directory.chmod(0o711)
    try:
        with RedisServer() as server, Web() as web, Bench(server, directory) as bench:
            bench.use(taskcluster={"root_url": web.url}, executor={"required_disk_space_bytes": 0})
            path = archive(directory, 1 << (28 if quick else 30))
            good = [unpacking(bench, web, path, 1 if quick else 3), caches(bench, 100_000, 3 if quick else 7)]
    finally:
        shutil.rmtree(directory)
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
