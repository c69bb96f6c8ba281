"""The Taskcluster client that tasks use works through the proxy, old style and new."""

import json

import taskcluster

from proxy.rig import Rig
from proxy.upstream import reply


def queue(rig: Rig, root: str = "") -> taskcluster.Queue:
    return taskcluster.Queue({"rootUrl": f"http://{rig.address}:{rig.port}{root}", "maxRetries": 0})


def test_a_call_without_credentials_is_signed_on_the_way(rig: Rig) -> None:
    rig.taskcluster.next(reply(json.dumps({"status": {"taskId": "x"}}).encode()))
    assert queue(rig).status("VtLiFkOMTpu3h0EUwcQIBg") == {"status": {"taskId": "x"}}
    sent = rig.taskcluster.requests[0]
    assert sent.target == "/api/queue/v1/task/VtLiFkOMTpu3h0EUwcQIBg/status"
    assert (sent.one("authorization") or "").startswith('Hawk id="task-client/T"')


def test_a_post_arrives_with_its_payload(rig: Rig) -> None:
    rig.taskcluster.next(reply(b'{"storageType": "s3"}'))
    queue(rig).createArtifact("VtLiFkOMTpu3h0EUwcQIBg", "0", "public/x", {"storageType": "s3"})
    sent = rig.taskcluster.requests[0]
    assert json.loads(sent.body) == {"storageType": "s3"}
    assert sent.one("content-type") == "application/json"
