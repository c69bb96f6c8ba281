"""Images that tasks have made: a first load of 200 MB beside ``docker load``, and the same image for a second task.

``python tests/bench/bench_images.py [--quick]``; exit code 1 when the goal is missed. Needs root and a Docker daemon.

The first load is all that a task waits for: a download over loopback, hashing and rewriting, and the daemon's part.
``docker load`` is the daemon's part alone, from a file. Each round has another content.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from executor.bench import Bench
from executor.docker_images.archives import Picture, tar
from executor.docker_images.customer import Customer
from executor.mounts.web import Web
from simulators.redis import RedisServer
from taskward.executor.docker.images.images import Images
from taskward.executor.docker.images.library import Ensured
from taskward.executor.docker.request import Image

_TASK = "AAAAAAAAQAaAAAAAAAAAAA"
_GOAL_MS = 50.0
_LAYERS = 4
_FILE_BYTES = 1 << 16


def picture(seed: str, size_bytes: int) -> Picture:
    """Files of which one half can be compressed, in some layers."""
    chance, text = random.Random(seed), b"the quick brown fox " * (_FILE_BYTES // 40)
    files = size_bytes // _FILE_BYTES // _LAYERS
    layers = [
        tar({f"d{number}/f{file}": text + chance.randbytes(_FILE_BYTES // 2) for file in range(files)})
        for number in range(_LAYERS)
    ]
    return Picture(layers)


def docker_load_s(path: Path, name: str) -> float:
    """What the daemon needs; the image is removed again."""
    began = time.monotonic()
    subprocess.run(["docker", "load", "-q", "-i", str(path)], check=True, stdout=subprocess.DEVNULL)
    took_s = time.monotonic() - began
    subprocess.run(["docker", "rmi", name], check=True, stdout=subprocess.DEVNULL)
    return took_s


def ensure_ms(bench: Bench, image: Image) -> tuple[float, Ensured]:
    """What a new task waits for."""
    with Customer(bench) as customer:
        customer.daemon.api.ping()  # it has been talked to by then
        began = time.monotonic()
        ensured = customer.get(image)
        return (time.monotonic() - began) * 1000, ensured


def rounds(bench: Bench, web: Web, directory: Path, size_bytes: int, count: int) -> bool:
    theirs: dict[str, list[float]] = {"tar": [], "tar.zst": []}
    ours: dict[str, list[float]] = {"tar": [], "tar.zst": []}
    again: list[float] = []
    for number in range(count + 1):
        for form in theirs:
            name = f"taskward-test/load:{number}"
            path = directory / "image.tar"
            path.write_bytes(picture(f"{time.time()}{form}", size_bytes).saved([name]))
            theirs[form].append(docker_load_s(path, name))
            if form == "tar.zst":
                subprocess.run(["zstd", "-q", "-1", "-f", "--rm", path, "-o", directory / "image.zst"], check=True)
                path = directory / "image.zst"
            where = f"private/{number}.{form}"
            web.artifact(_TASK, where, path.read_bytes())
            image = Image("task-image", task_id=_TASK, path=where)
            ours[form].append(ensure_ms(bench, image)[0] / 1000)
            again += [ensure_ms(bench, image)[0] for _ in range(5)]
            sweep(bench)
    for form in theirs:
        load_s, first_s = statistics.median(theirs[form][1:]), statistics.median(ours[form][1:])
        print(f"first load of a {form}, {size_bytes >> 20} MiB: {first_s:.2f} s; docker load {load_s:.2f} s")
    print(f"from the cache: {statistics.median(again):.0f} ms, at most {max(again):.0f} ms (goal: {_GOAL_MS:.0f} ms)")
    return statistics.median(again) <= _GOAL_MS


def sweep(bench: Bench) -> None:
    """Removes what was loaded."""
    settings = replace(bench.settings, images=replace(bench.settings.images, expire_after_s=0.0))
    with Customer(bench) as customer:
        Images(customer.daemon, settings).sweep()


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the size, fewer rounds")
    quick = parser.parse_args().quick
    directory = Path(tempfile.mkdtemp(prefix="twi"))
    directory.chmod(0o711)
    try:
        with RedisServer() as server, Web() as web, Bench(server, directory) as bench:
            bench.use(
                taskcluster={"root_url": web.url}, proxy={"port": web.port}, executor={"required_disk_space_bytes": 0}
            )
            good = rounds(bench, web, directory, (50 if quick else 200) << 20, 1 if quick else 3)
    finally:
        shutil.rmtree(directory)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
