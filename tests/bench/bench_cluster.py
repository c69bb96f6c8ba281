"""Four uploaders beside one in the cluster of docker-compose.yml, with 50 ms between it and its Taskcluster.

``python tests/bench/bench_cluster.py [--quick]``; needs root and Docker, and makes the images when they are not there.
Exit code 1 when the goal is missed. The limit is four, less what every run needs however many uploaders there are (its
log, its link, its resolution: one after the other), and less what the development cluster takes, which all share.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from cluster.compose import AT_ONCE, ROOT, Cluster
from cluster.test_trouble import ROUND_TRIP_S, files_task
from simulators import docker as daemons
from simulators.patience import until
from taskward.core.address import RedisAddress
from taskward.core.connection import connect
from taskward.core.ids import RunId
from taskward.core.record import Records

TAG: Final = "cluster-test"
UPLOADERS: Final = 4
GOAL: Final = 3.6
_AFTERWARDS: Final = ("finishing", "uploaded", "resolving", "resolved")


def upload_s(cluster: Cluster, records: Records, count: int) -> tuple[float, float]:
    """Seconds of the upload alone, and until the run is resolved."""
    run = RunId(cluster.create(files_task(count)), 0)

    def reached(*phases: str) -> float:
        def there() -> bool:
            record = records.read(run)
            return record is not None and record.phase in phases

        until(there, f"{run} is {phases[0]}", 600, 0.005)
        return time.monotonic()

    began = reached("uploading", *_AFTERWARDS)
    uploaded = reached(*_AFTERWARDS)
    return uploaded - began, reached("resolved") - began


def processor_s(cluster: Cluster, role: str) -> float:
    """Processor time of the role's containers so far."""
    found = [cluster.docker.stats(each["Id"], stream=False) for each in cluster.containers(role)]
    return float(sum(each["cpu_stats"]["cpu_usage"]["total_usage"] for each in found)) / 1e9


def measured(cluster: Cluster, records: Records, count: int, uploaders: int) -> tuple[float, float]:
    """Like `upload_s`, with so many uploaders; prints what limits it."""
    words = ("up", "--detach", "--no-build", "--no-recreate", "--scale", f"uploader={uploaders}", "uploader")
    cluster.compose(*words)
    locks = cluster.state_dir / "locks/upload"
    until(lambda: len([path for path in locks.iterdir() if path.name[0] != "."]) == uploaders, "all work")
    upload_s(cluster, records, 10 * uploaders)  # connections are made
    before_s = processor_s(cluster, "devcluster")
    upload, resolved = upload_s(cluster, records, count)
    used_s = processor_s(cluster, "devcluster") - before_s
    waiting_s = 2 * ROUND_TRIP_S * count / AT_ONCE / uploaders
    print(
        f"{count} files, {uploaders} uploaders: {upload:.2f} s, until resolved {resolved:.2f} s; limits: "
        f"waiting alone {waiting_s:.2f} s, the devcluster's processor time {used_s:.2f} s",
        flush=True,
    )
    return upload, resolved


def main() -> int:
    """Prints one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a third of the files")
    count = 200 if parser.parse_args().quick else 600
    if os.geteuid() != 0 or not Path(daemons.SOCKET.removeprefix("unix://")).exists():
        print("left out: it needs root and a Docker daemon")
        return 0
    subprocess.run([ROOT / "ops/images/build.sh", TAG], check=True, capture_output=True)
    docker = daemons.connect()
    with Cluster(docker, TAG) as cluster:
        address = RedisAddress(
            cluster.state_dir / "run/redis/redis.sock", "admin", cluster.state_dir / "secrets/admin/redis-password"
        )
        with connect(address) as redis:
            cluster.slow_down(ROUND_TRIP_S)
            one, more = (measured(cluster, Records(redis), count, number) for number in (1, UPLOADERS))
    docker.close()
    shares = one[0] / more[0], one[1] / more[1]
    print(f"1 → {UPLOADERS} uploaders: {shares[0]:.2f} × (goal ≥ {GOAL} ×), until resolved {shares[1]:.2f} ×")
    return 0 if shares[0] >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
