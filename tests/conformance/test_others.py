"""What signer, executor and command line say to Taskcluster."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import taskcluster

from conformance.facts import call_of, faults
from conformance.front import Front
from simulators.devcluster import task_definition
from taskward.cli import taskfile
from taskward.executor.mounts import ask, porter
from taskward.executor.mounts.errands import Refused
from taskward.executor.mounts.purges import Purges
from taskward.executor.mounts.site import Site
from taskward.signer.taskcluster import SignedCall, Taskcluster

NOW = datetime.now(UTC)


def test_the_signers_four_questions(front: Front) -> None:
    task_id = taskcluster.slugId()
    front.queue.createTask(task_id, task_definition(taskQueueId="proj/signer"))
    front.queue.claimWork("proj/signer", {"workerGroup": "g", "workerId": "w"})
    front.observer.names.clear()
    signer = Taskcluster(front.url)
    assert signer.status(task_id)["taskId"] == task_id
    assert signer.definition(task_id)["taskQueueId"] == "proj/signer"
    assert list(signer.artifacts(task_id, 0)) == []
    with pytest.raises(Exception, match=r"Bad Request|Unauthorized"):
        signer.scopes(SignedCall("post", "/v1/certify", "signer", 80, 'Hawk id="x"'))
    assert front.observer.names == {"status", "task", "listArtifacts", "authenticateHawk"}


def test_mounts_ask_queue_and_index(front: Front) -> None:
    task_id = taskcluster.slugId()
    front.queue.createTask(task_id, task_definition(taskQueueId="proj/mounts"))
    front.cluster.index.insert("garbage.v2.latest", task_id, 0, {}, datetime(2040, 1, 1, tzinfo=UTC))
    site = cast(Site, SimpleNamespace(peer=SimpleNamespace(url=lambda: front.url)))
    client = ask.Client("")
    found = ask.get_json(client, Site.api(site, "index", "task", "garbage.v2.latest"), 5, to_proxy=True)
    assert found["taskId"] == task_id
    with pytest.raises(Refused, match=r"Artifact not found|any runs"):
        ask.may_read(client, Site.api(site, "queue", "task", task_id, "artifacts", "public/a b.zip"), 5)
    assert front.observer.names >= {"findTask", "getLatestArtifact"}


def test_purges_are_asked_for_the_workers_own_pool(front: Front, tmp_path: Path) -> None:
    front.cluster.purge_cache.request("proj/ci", "checkouts")
    settings = SimpleNamespace(
        worker=SimpleNamespace(task_queue_id="proj/ci"), taskcluster=SimpleNamespace(root_url=front.url)
    )

    def errand(_verb: str, *, url: str, names: list[str], to_proxy: bool) -> tuple[dict[str, Any]]:
        answer = ask.get_json(ask.Client(""), url, 5, to_proxy=to_proxy)
        return ({"before": porter._latest(answer["requests"], set(names))},)

    site: Any = SimpleNamespace(task=SimpleNamespace(settings=settings), porter=SimpleNamespace(ask=errand))
    shelf: Any = SimpleNamespace(prepare=lambda: None, directory=tmp_path)
    purges = Purges(site, shelf)
    assert purges._ask(["checkouts"], NOW.timestamp()).keys() == {"checkouts"}
    assert purges._ask(["checkouts"], 0.0).keys() == {"checkouts"}
    assert front.observer.names == {"purgeRequests"}


@pytest.mark.parametrize(
    "written",
    [
        {"command": [["true"]], "maxRunTime": 60},
        {"payload": {}, "metadata": {"name": "mine"}, "scopes": ["a:*"], "deadline": "2030-01-01T00:00:00Z"},
        {"payload": {}, "provisionerId": "p", "workerType": "w", "dependencies": [taskcluster.slugId()]},
    ],
)
def test_what_a_person_writes_becomes_a_definition_that_the_queue_takes(written: dict[str, Any]) -> None:
    definition = taskfile.complete(written, "proj/ci", "a name", NOW)
    call = call_of("PUT", f"queue/v1/task/{taskcluster.slugId()}")
    assert call is not None
    assert call.body is not None
    assert faults(call.body, json.loads(json.dumps(definition))) == []
