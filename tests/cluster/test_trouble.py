"""Containers that are killed, and more of a role than one."""

import time
from typing import Any

import pytest

from .compose import ROLES, Cluster, until

FILES = 200
ROUND_TRIP_S = 0.05


def files_task(count: int = FILES) -> dict[str, Any]:
    """Many small artifacts, where waiting for the network is the work."""
    program = f"mkdir out; for i in $(seq {count}); do echo $i >out/$i; done"
    return {
        "command": [["/bin/bash", "-c", program]],
        "artifacts": [{"name": "public/out", "path": "out", "type": "directory"}],
    }


def upload_time_s(cluster: Cluster) -> float:
    """From the end of the task's commands until it is resolved."""
    task_id = cluster.create(files_task())
    until(
        lambda: list((cluster.state_dir / "outbox").glob(f"{task_id}-0/index.json")), "it was collected", pause_s=0.02
    )
    began = time.monotonic()
    assert cluster.resolution(task_id) == "completed/completed"
    took_s = time.monotonic() - began
    assert len([name for name in cluster.names(task_id) if name.startswith("public/out/")]) == FILES
    return took_s


def test_four_uploaders_are_faster_than_one_and_lose_nothing_when_one_is_killed(cluster: Cluster) -> None:
    cluster.slow_down(ROUND_TRIP_S)
    one_s = upload_time_s(cluster)
    _scale(cluster, "uploader", 4)
    until(lambda: _locks(cluster, "upload") == 4, "four uploaders work")
    four_s = upload_time_s(cluster)
    print(f"{FILES} files at {ROUND_TRIP_S * 1000:.0f} ms: {one_s:.1f} s with one uploader, {four_s:.1f} s with four")
    assert four_s < one_s / 2

    task_id = cluster.create(files_task())
    until(lambda: len(cluster.names(task_id)) > 5, "uploading has begun", pause_s=0.02)
    cluster.crash(cluster.containers("uploader")[0])
    assert cluster.resolution(task_id) == "completed/completed"
    assert len([name for name in cluster.names(task_id) if name.startswith("public/out/")]) == FILES
    cluster.slow_down(0)
    _scale(cluster, "uploader", 1)


def test_killed_executor_gives_the_run_back_to_the_queue(cluster: Cluster) -> None:
    task_id = cluster.create({"command": [["/bin/bash", "-c", "echo alive; [ $RUN_ID != 0 ] || sleep 600"]]})
    _until_begun(cluster, task_id)
    cluster.crash(cluster.container("executor"))
    assert cluster.resolution(task_id) == "exception/worker-shutdown"
    assert cluster.resolution(task_id, 1) == "completed/completed"
    assert "process that ran the task died" in cluster.get(task_id, "public/logs/live_backing.log")


def test_run_of_a_killed_executor_is_taken_over_by_another_container(cluster: Cluster) -> None:
    """The other one cannot see its pid, nor its task's user; the lock tells."""
    _scale(cluster, "executor", 2)
    until(lambda: _locks(cluster, "execute") == 2, "two executors work")
    program = "[ $RUN_ID != 0 ] || sleep 5"
    tasks = [cluster.create({"command": [["/bin/bash", "-c", program]]}) for _ in range(2)]
    until(lambda: all(run["state"] == "running" for task in tasks for run in cluster.runs(task)), "both run")
    until(lambda: len(list((cluster.state_dir / "tasks").iterdir())) == 2, "both have begun")
    cluster.crash(cluster.containers("executor")[0])
    assert sorted(cluster.resolution(task) for task in tasks) == ["completed/completed", "exception/worker-shutdown"]
    assert all(cluster.resolution(task, len(cluster.runs(task)) - 1) == "completed/completed" for task in tasks)
    _scale(cluster, "executor", 1)


@pytest.mark.parametrize("role", [role for role in ROLES if role not in ("executor", "taskhost")])
def test_killed_container_is_started_again_and_loses_no_task(cluster: Cluster, role: str) -> None:
    task_id = cluster.create({"command": [["/bin/bash", "-c", "sleep 0.3"]], "features": {"chainOfTrust": True}})
    _until_begun(cluster, task_id)
    found = cluster.containers(role)[0]
    cluster.crash(found)
    until(lambda: cluster.docker.inspect_container(found["Id"])["RestartCount"] > found["RestartCount"], "a new start")
    assert cluster.resolution(task_id) == "completed/completed"
    assert "public/chainOfTrust.json.asc" in cluster.names(task_id)


def _until_begun(cluster: Cluster, task_id: str) -> None:
    """The worker has it: a claim that the queue has given away, but nobody has received, ends by its expiry only."""
    until((cluster.state_dir / "tasks" / f"{task_id}-0").exists, "the task has begun", pause_s=0.02)


def _scale(cluster: Cluster, role: str, count: int) -> None:
    cluster.compose("up", "--detach", "--no-build", "--no-recreate", "--scale", f"{role}={count}", role)


def _locks(cluster: Cluster, queue: str) -> int:
    return len([path for path in (cluster.state_dir / "locks" / queue).iterdir() if not path.name.startswith(".")])
