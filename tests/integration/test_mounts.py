"""Mounts on a whole worker: artifacts of other tasks through the proxy, by their name and by the index."""

import hashlib
import os

import taskcluster

from taskward.core.ids import RunId

from .conftest import needs_root
from .stack import Stack, until

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


def test_the_way_to_the_proxy_is_closed_when_the_commands_begin(stack: Stack) -> None:
    before = producer(stack, "public/a.tar.gz")
    port = stack.settings.others["proxy"]["port"]
    script = (
        f"for i in $(seq 1 3); do curl -s -o /dev/null -w '%{{http_code}} ' http://127.77.$i.$i:{port}/api/queue/v1/ping; "
        "done; env | grep -c PROXY_URL"
    )
    run, resolution = stack.run(
        [["bash", "-c", f"{script}; true"]], mounts=[archive(before, "public/a.tar.gz")], task=after(before)
    )

    assert resolution == ("completed", "completed")
    assert not list(stack.redis().scan_iter("tw:peer:*"))
    assert stack.log(run).splitlines()[-3:][0] is not None


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
    assert os.path.exists(stack.state_dir / "downloads")
