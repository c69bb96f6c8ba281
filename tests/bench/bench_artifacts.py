"""Many small artifacts through the whole worker, beside curl one by one and beside a copy on the same disk.

``python tests/bench/bench_artifacts.py [--quick]``, as root for the figures of a real installation. curl only does the
PUT, to an address that it is given; the worker also asks the queue for each address, collects, and keeps the manifest.

The limit is the development cluster, one Python process, and the machine's processors: so the same requests are sent to
it once more, made and signed beforehand, by a loop that does nothing else; and the processor time of each is shown.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import taskcluster

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import bare
from integration.stack import QUEUE, Stack
from simulators.patience import until
from taskward.core.ids import RunId
from taskward.core.taskcluster import Credentials

SIZE_BYTES = 1000
CURLED = 100
_MAKE = f"import os;os.mkdir('a');[open(f'a/{{n}}','wb').write(b'x'*{SIZE_BYTES}) for n in range(COUNT)]"


def through_the_worker(stack: Stack, count: int) -> dict[str, float]:
    """Seconds of each phase; the task's own time is left out."""
    entry = {"type": "directory", "path": "a", "name": "public/a", "contentEncoding": "identity"}
    run = stack.create([["python3", "-c", _MAKE.replace("COUNT", str(count))]], artifacts=[entry], maxRunTime=600)
    stack.phase(run, "collecting", "uploading", "finishing", "uploaded", "resolving", "resolved")
    began = time.monotonic()
    stack.phase(run, "uploading", "finishing", "uploaded", "resolving", "resolved")
    collected = time.monotonic()
    assert stack.resolution(run, 900) == ("completed", "completed")
    ended = time.monotonic()
    return {"collect": collected - began, "upload": ended - collected, "all": ended - began}


def one_by_one(stack: Stack, source: Path) -> float:
    """Seconds of a PUT by a curl of its own, sequentially."""
    addresses = put_addresses(stack, CURLED)
    began = time.monotonic()
    for url, headers in addresses:
        words = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
        subprocess.run(["curl", "-sf", "-X", "PUT", "--data-binary", f"@{source}", *words, url], check=True)
    return (time.monotonic() - began) / CURLED


def put_addresses(stack: Stack, count: int) -> list[tuple[str, dict[str, str]]]:
    """Where artifacts of a run that nobody works on may be put."""
    run, credentials = foreign_run(stack, "curl")
    client = taskcluster.Queue({"rootUrl": stack.cluster.root_url, "credentials": credentials})
    return [_address(client, run, f"public/{number}") for number in range(count)]


def foreign_run(stack: Stack, name: str) -> tuple[RunId, dict[str, str]]:
    """A run that is claimed, though not by the worker, and the credentials of its claim."""
    queue = f"{QUEUE.partition('/')[0]}/{name}"
    run = stack.create([["true"]], task={"taskQueueId": queue})
    claim = until(lambda: _claim(stack, queue), f"there is work for {name}")
    return run, claim["credentials"]


def bare_requests(stack: Stack, count: int) -> float:
    """Seconds that the development cluster needs for the requests alone: `count` createArtifact, `count` PUTs."""
    root_url = stack.cluster.root_url
    run, claimed = foreign_run(stack, "bare")
    credentials, expires = Credentials.parse(claimed), stack.client().task(run.task_id)["expires"]
    wanted = f'{{"storageType": "s3", "contentType": "text/plain", "expires": "{expires}"}}'.encode()

    def create(number: int) -> bytes:
        url = f"{root_url}/api/queue/v1/task/{run.task_id}/runs/{run.run_id}/artifacts/public%2F{number}"
        signed = credentials.sign("POST", url, wanted, "application/json")
        return bare.request("POST", url, {"Content-Type": "application/json", "Authorization": signed}, wanted)

    created_s, answers = bare.send_all(root_url, [create(number) for number in range(count)])
    urls = [json.loads(answer)["putUrl"] for answer in answers]
    puts = [bare.request("PUT", url, {"Content-Type": "text/plain"}, b"x" * SIZE_BYTES) for url in urls]
    return created_s + bare.send_all(root_url, puts)[0]


def _claim(stack: Stack, queue: str) -> Any:
    answer = stack.client().claimWork(queue, {"tasks": 1, "workerGroup": "g", "workerId": "w"})
    return next(iter(answer["tasks"]), None)


def _address(client: Any, run: RunId, name: str) -> tuple[str, dict[str, str]]:
    expires = datetime.fromisoformat(client.task(run.task_id)["expires"]).isoformat()
    wanted = {"storageType": "s3", "contentType": "text/plain", "expires": expires}
    answer = client.createArtifact(run.task_id, run.run_id, name, wanted)
    return answer["putUrl"], {"Content-Type": "text/plain"}


def cpu_s(stack: Stack) -> dict[str, float]:
    """Processor time so far of those who take part in uploads."""
    pids = {"devcluster": [stack.cluster.pid], "uploaders": stack.pids("uploader"), "redis": stack.pids("redis")}
    return {name: sum(map(bare.cpu_s, each)) for name, each in pids.items()}


def copied(count: int) -> float:
    """Seconds that `cp -r` needs."""
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "a")
        source.mkdir()
        for number in range(count):
            (source / str(number)).write_bytes(b"x" * SIZE_BYTES)
        began = time.monotonic()
        subprocess.run(["cp", "-r", str(source), f"{place}/b"], check=True)
        return time.monotonic() - began


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one line a figure, beside its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the artifacts")
    count = 1000 if parser.parse_args(arguments).quick else 10_000
    with Stack(uploader={"processes": 2}) as stack, tempfile.NamedTemporaryFile() as small:
        small.write(b"x" * SIZE_BYTES)
        small.flush()
        before = cpu_s(stack)
        took = through_the_worker(stack, count)
        used = {name: spent - before[name] for name, spent in cpu_s(stack).items()}
        curl_s = one_by_one(stack, Path(small.name)) * count
        bare_s = bare_requests(stack, count)
    print(
        f"{count} artifacts of {SIZE_BYTES} B, commands ended to resolved: {took['all']:.1f} s "
        f"({count / took['all']:.0f} a second; collect {took['collect']:.1f} s, upload {took['upload']:.1f} s)"
    )
    print(f"curl one by one, PUT alone: {curl_s:.0f} s, {curl_s / took['all']:.1f} times as long (goal 10)")
    print(
        f"limit: {count / bare_s:.0f} files a second, the requests alone, to the same devcluster: {bare_s:.1f} s, "
        f"{bare_s / took['upload']:.2f} of the upload; curl takes {curl_s / bare_s:.1f} times as long"
    )
    shown = ", ".join(f"{name} {spent / count * 1000:.2f} ms" for name, spent in used.items())
    share = sum(used.values()) / took["upload"] / (os.cpu_count() or 1)
    print(f"limit: processor time a file: {shown}; {share:.0%} of this machine's processors while it was uploaded")
    print(f"cp -r of the same files: {copied(count):.2f} s")


if __name__ == "__main__":
    main()
