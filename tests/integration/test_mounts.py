"""Mounts on a whole worker: artifacts of other tasks through the proxy, by their name and by the index."""

import hashlib
import signal
from pathlib import Path

import taskcluster

from simulators.patience import until
from taskward.core.ids import RunId

from .conftest import needs_root
from .stack import QUEUE, Stack, send

ARCHIVE = "mkdir -p d && echo hello > d/file && tar -czf a.tar.gz d"


def producer(stack: Stack, *names: str, script: str = ARCHIVE, **task: object) -> RunId:
    """A finished task whose `a.tar.gz` is published under these names."""
    artifacts = [{"type": "file", "path": "a.tar.gz", "name": name} for name in names]
    run, resolution = stack.run([["bash", "-c", script]], artifacts=artifacts, task=task)
    assert resolution == ("completed", "completed"), stack.log(run)
    return run


def after(run: RunId, *scopes: str) -> dict[str, object]:
    return {"dependencies": [run.task_id], "scopes": list(scopes)}


def archive(run: RunId, name: str, directory: str = "in") -> dict[str, object]:
    return {"directory": directory, "format": "tar.gz", "content": {"taskId": run.task_id, "artifact": name}}


@needs_root
def test_an_archive_of_another_task_is_a_read_only_directory(stack: Stack) -> None:
    before = producer(stack, "public/a.tar.gz")
    script = "cat in/d/file; stat -c '%U %a' in/d/file; ! touch in/x; echo wrote=$?; id -un"

    run, resolution = stack.run(
        [["bash", "-c", script]], mounts=[archive(before, "public/a.tar.gz")], task=after(before)
    )

    log = stack.log(run)
    assert resolution == ("completed", "completed"), log
    lines = [line for line in log.splitlines() if not line.startswith("[taskcluster")]
    assert lines[0] == "hello"
    assert lines[1] == f"{lines[-1]} 644"
    assert "Read-only file system" in log


def test_a_private_artifact_needs_the_tasks_own_scope_also_when_it_is_here_already(stack: Stack) -> None:
    before = producer(stack, "private/a.tar.gz")
    mounts = [archive(before, "private/a.tar.gz")]
    scope = "queue:get-artifact:private/a.tar.gz"

    allowed, resolution = stack.run([["cat", "in/d/file"]], mounts=mounts, task=after(before, scope))
    assert resolution == ("completed", "completed"), stack.log(allowed)
    refused, resolution = stack.run([["cat", "in/d/file"]], mounts=mounts, task=after(before))

    log = stack.log(refused)
    assert resolution == ("failed", "failed")
    assert "[taskcluster:error] [mounts] Could not fetch from task" in log
    assert "403" in log
    assert "hello" not in log


OWN_ADDRESS = """
import hashlib, os
key = f"{os.environ['TASK_ID']}/{os.environ['RUN_ID']}".encode()
high, low = divmod(int.from_bytes(hashlib.sha256(key).digest()[:4], "big") % (254 * 254), 254)
print(f"127.77.{high + 1}.{low + 1}")
"""


def test_the_way_to_the_proxy_is_closed_when_the_commands_begin(stack: Stack) -> None:
    before = producer(stack, "public/a.tar.gz")
    port = stack.settings.others["proxy"]["port"]
    ask = f"curl -s -m 10 -o /dev/null -w 'status=%{{http_code}}' http://$address:{port}/api/queue/v1/ping || true"
    script = f'address=$(python3 -c "$CODE"); {ask}; echo; env | grep -c PROXY_URL || true'

    statuses = []
    for features in ({"taskclusterProxy": True}, {}):
        run, resolution = stack.run(
            [["bash", "-c", script]], mounts=[archive(before, "public/a.tar.gz")], task=after(before),
            env={"CODE": OWN_ADDRESS}, features=features,
        )  # fmt: skip
        assert resolution == ("completed", "completed")
        statuses.append(next(line for line in stack.log(run).splitlines() if line.startswith("status=")))

    assert statuses[0] == "status=200"
    assert statuses[1] != "status=200"
    assert not list(stack.redis().scan_iter("tw:peer:*"))


def test_content_can_be_found_by_the_index(stack: Stack) -> None:
    first = producer(stack, "public/a.tar.gz", routes=["index.garbage.mounts"])
    until(lambda: _indexed(stack, "garbage.mounts") == first.task_id, "the first is indexed")
    mount = {
        "directory": "in", "format": "tar.gz",
        "content": {"namespace": "garbage.mounts", "artifact": "public/a.tar.gz"},
    }  # fmt: skip
    run, resolution = stack.run([["cat", "in/d/file"]], mounts=[mount])

    assert resolution == ("completed", "completed"), stack.log(run)
    assert f"[mounts] Downloading task {first.task_id} artifact public/a.tar.gz to " in stack.log(run)


def _indexed(stack: Stack, namespace: str) -> str:
    try:
        return str(stack.client(taskcluster.Index).findTask(namespace)["taskId"])
    except taskcluster.exceptions.TaskclusterRestFailure:
        return ""


def test_a_file_mount_is_what_was_published_not_how_it_was_stored(stack: Stack) -> None:
    text = b"line\n" * 1000
    run, _ = stack.run(
        [["bash", "-c", "yes line | head -1000 > f.txt"]],
        artifacts=[{"type": "file", "path": "f.txt", "name": "public/f.txt"}],
    )
    sha256 = hashlib.sha256(text).hexdigest()
    mount = {"file": "x/y.txt", "content": {"taskId": run.task_id, "artifact": "public/f.txt", "sha256": sha256}}

    user, resolution = stack.run([["sha256sum", "x/y.txt"]], mounts=[mount], task=after(run))

    assert resolution == ("completed", "completed"), stack.log(user)
    assert sha256 in stack.log(user)
    assert list(stack.state_dir.glob("downloads/*/content"))


def cache(name: str) -> dict[str, object]:
    return {"directory": "c", "cacheName": name}


COUNT = ["bash", "-c", "echo x >> c/count; echo count=$(wc -l < c/count)"]


def count(stack: Stack, name: str) -> int:
    """How many tasks have used the cache, this one included."""
    run, resolution = stack.run([COUNT], mounts=[cache(name)], task={"scopes": [f"generic-worker:cache:{name}"]})
    assert resolution == ("completed", "completed"), stack.log(run)
    return int(next(line for line in stack.log(run).splitlines() if line.startswith("count=")).partition("=")[2])


def test_a_cache_is_handed_from_task_to_task(stack: Stack) -> None:
    assert [count(stack, "steady") for _ in range(3)] == [1, 2, 3]


def test_a_purge_request_reaches_the_worker(stack: Stack) -> None:
    assert count(stack, "purged") == 1
    stack.client(taskcluster.PurgeCache).purgeCache(QUEUE, {"cacheName": "purged"})

    until(lambda: count(stack, "purged") == 1, "the cache is purged", 30, 0.5)


def test_a_cache_whose_executor_was_killed_is_thrown_away(own_stack: Stack) -> None:
    stack = own_stack
    assert count(stack, "torn") == 1
    run = stack.create(
        [["bash", "-c", "echo half > c/half; sleep 1000"]],
        mounts=[cache("torn")], task={"scopes": ["generic-worker:cache:torn"]},
    )  # fmt: skip
    stack.phase(run, "running")
    until(lambda: torn(stack), "the task writes")

    send(stack.pids("executor"), signal.SIGKILL)

    assert stack.resolution(run) == ("exception", "worker-shutdown")
    stack.client().cancelTask(run.task_id)
    assert count(stack, "torn") == 1
    until(lambda: not torn(stack), "what was torn is deleted")


def torn(stack: Stack) -> list[Path]:
    """The half-written file, in the cache or, where nothing can be mounted, in the task's directory."""
    return [*stack.state_dir.glob("caches/*/content/half"), *stack.state_dir.glob("tasks/*/c/half")]


def test_a_task_without_the_scope_of_a_cache_is_malformed(stack: Stack) -> None:
    run, resolution = stack.run([COUNT], mounts=[cache("secret")])

    assert resolution == ("exception", "malformed-payload")
    assert "generic-worker:cache:secret" in stack.log(run)


def test_an_artifact_that_does_not_exist_fails_the_task(stack: Stack) -> None:
    before = producer(stack, "public/a.tar.gz")

    run, resolution = stack.run([["true"]], mounts=[archive(before, "public/none")], task=after(before))

    assert resolution == ("failed", "failed")
    assert "[taskcluster:error] [mounts] Could not fetch from task" in stack.log(run)
    assert "404" in stack.log(run)
