"""The smaller features of generic-worker, on a whole worker."""

import grp
import json
import os
import secrets
import subprocess
from collections.abc import Iterator

import pytest
import slugid

from simulators.patience import until
from simulators.superseder import Superseder, lists

from .conftest import needs_root
from .stack import QUEUE, Stack


@pytest.fixture
def group() -> Iterator[str]:
    name = f"x{secrets.token_hex(4)}"
    subprocess.run(["groupadd", name], check=True, timeout=30)
    yield name
    subprocess.run(["groupdel", name], check=True, timeout=30)


def test_an_intermittent_failure_is_run_again(stack: Stack) -> None:
    run = stack.create([["sh", "-c", "exit $((5 - RUN_ID * 5))"]], onExitStatus={"retry": [5]})

    assert stack.resolution(run) == ("exception", "intermittent-task")
    runs = until(lambda: len(stack.runs(run)) == 2 and stack.runs(run), "there is a second run")
    assert runs[1]["reasonCreated"] == "task-retry"
    until(lambda: stack.runs(run)[1]["state"] == "completed", "the second run completes")


@needs_root
def test_a_task_is_in_its_groups(stack: Stack, group: str) -> None:
    scope = f"generic-worker:os-group:{QUEUE}/{group}"
    run, resolution = stack.run([["id", "-nG"]], osGroups=[group], task={"scopes": [scope]})

    assert resolution == ("completed", "completed"), stack.log(run)
    assert any(group in line.split() for line in stack.log(run).splitlines() if "taskcluster" not in line)
    until(lambda: grp.getgrnam(group).gr_mem == [], "the task's user is gone")


def test_of_three_tasks_only_the_newest_is_run(stack: Stack) -> None:
    ids = [str(slugid.nice()) for _ in range(3)]
    with Superseder(lists(ids)) as service:
        older = [stack.create([["true"]], task_id=task_id, supersederUrl=service.url) for task_id in reversed(ids)]
        resolutions = [stack.resolution(run) for run in reversed(older)]

        assert resolutions == [("completed", "completed"), *[("exception", "resource-unavailable")] * 2]
        assert sorted(service.asked) == sorted(ids)
    for run in older[:2]:
        assert json.loads(stack.get(run, "public/superseded-by.json")) == {"taskId": ids[0]}
        assert f"Task {run.task_id} has been superseded by task {ids[0]}" in stack.log(run)


def test_what_a_task_used_is_published(stack: Stack) -> None:
    run, resolution = stack.run([["sleep", "1.2"]], features={"resourceMonitor": True})

    assert resolution == ("completed", "completed")
    document = json.loads(stack.get(run, "public/monitoring/resources.json"))
    assert len(document["samples"]) >= 2
    assert "Average Available System Memory: " in stack.log(run)


def test_the_worker_says_what_it_ran_last(stack: Stack) -> None:
    run, _ = stack.run([["true"]])

    data = json.loads((stack.state_dir / "generic-worker-metadata.json").read_text())
    assert data == {"lastTaskUrl": f"{stack.cluster.root_url}/tasks/{run.task_id}/runs/0"}


CALL = """
import json, os, urllib.request
url = os.environ["TASKCLUSTER_PROXY_URL"]
print("uid", os.getuid(), json.load(urllib.request.urlopen(url + "/api/queue/v1/ping"))["alive"])
"""


@needs_root
def test_a_task_with_the_workers_rights_reaches_the_proxy() -> None:
    scopes = [f"generic-worker:run-task-as-current-user:{QUEUE}"]
    wanted = {"runTaskAsCurrentUser": True, "taskclusterProxy": True}
    with Stack(executor={"enable_run_task_as_current_user": True}) as stack:
        run, resolution = stack.run([["python3", "-c", CALL]], features=wanted, task={"scopes": scopes})

        assert resolution == ("completed", "completed"), stack.log(run)
        assert f"uid {os.geteuid()} True" in stack.log(run)
