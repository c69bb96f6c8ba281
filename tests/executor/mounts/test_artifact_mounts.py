"""Artifacts of other tasks as mounts."""

from typing import Any

import pytest

from executor.bench import Bench, shell
from executor.mounts.downloading import CONTENT, SHA256, TASK, file
from executor.mounts.web import Web


def mount(name: str = "public/f", **more: Any) -> dict[str, Any]:
    return file({"taskId": TASK, "artifact": name, **more})


def payload(*mounts: Any) -> dict[str, Any]:
    return {"command": shell("cat f"), "maxRunTime": 9, "mounts": list(mounts)}


def test_an_artifact_comes_through_the_proxy(mounting: Bench, web: Web) -> None:
    web.artifact(TASK, "public/f", CONTENT)

    result = mounting.run_payload(payload(mount()), dependencies=[TASK])

    assert result.output == ["hello"]
    assert f"[mounts] Downloading task {TASK} artifact public/f to " in result.log
    assert not list(mounting.redis.scan_iter("tw:peer:*"))


def test_a_task_that_is_no_dependency_is_malformed(mounting: Bench, web: Web) -> None:
    result = mounting.run_payload(payload(mount()))

    assert result.outcome.reason == "malformed-payload"
    line = f"[mounts] task.dependencies needs to include {TASK} since one or more of its artifacts are mounted"
    assert f"[taskcluster:error] {line}" in result.log


def test_a_worker_without_proxy_says_so(mounting: Bench) -> None:
    mounting.settings = type(mounting.settings)(**{**vars(mounting.settings), "others": {}})

    result = mounting.run_payload(payload(mount()), dependencies=[TASK])

    assert result.outcome.reason == "malformed-payload"
    assert "needs a proxy, which is not enabled on this worker" in result.log


def test_the_queues_own_words_are_in_the_log(mounting: Bench, web: Web) -> None:
    result = mounting.run_payload(payload(mount("public/none")), dependencies=[TASK])

    assert result.outcome.state == "failed"
    assert "status 404 Not Found: no such thing" in result.log


def test_a_private_artifact_that_is_kept_is_not_for_everybody(mounting: Bench, web: Web) -> None:
    web.artifact(TASK, "private/f", CONTENT)
    allowed = mounting.run_payload(payload(mount("private/f")), dependencies=[TASK])
    web.artifact(TASK, "private/f", CONTENT, status=403)

    refused = mounting.run_payload(payload(mount("private/f", sha256=SHA256)), dependencies=[TASK])

    assert allowed.output == ["hello"]
    assert refused.output == []
    assert "status 403 Forbidden: not for you" in refused.log


def test_an_indexed_artifact_is_looked_up_each_time(mounting: Bench, web: Web) -> None:
    other = "BBBBBBBBQBaBBBBBBBBBBA"
    mount = file({"namespace": "a.b", "artifact": "public/f"})
    for task_id, content in ((TASK, b"one\n"), (other, b"two\n")):
        web.page("/api/index/v1/task/a.b", b'{"taskId": "%s"}' % task_id.encode())
        web.artifact(task_id, "public/f", content)
        assert mounting.run_payload(payload(mount)).output == [content.decode().strip()]


@pytest.mark.parametrize("answer", [b"[]", b"{}", b"nonsense", b'{"taskId": "../../secrets"}'])
def test_an_index_that_lies_fails_the_task(mounting: Bench, web: Web, answer: bytes) -> None:
    web.page("/api/index/v1/task/a.b", answer)

    result = mounting.run_payload(payload(file({"namespace": "a.b", "artifact": "public/f"})))

    assert result.outcome.state == "failed"
    assert "[mounts] Could not find a.b in the index" in result.log
