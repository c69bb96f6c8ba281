"""Whole runs whose image a task has made."""

import os
import signal
from collections.abc import Iterator

import pytest

from executor.conftest import pytest_collection_modifyitems, redis_server
from executor.docker.conftest import yard
from executor.docker.yard import Yard, task_output
from executor.docker_images.archives import Picture
from executor.mounts.web import Web
from simulators.docker import busybox, daemon
from taskward.core.outbox import Index

__all__ = ["busybox", "daemon", "pytest_collection_modifyitems", "redis_server", "yard"]

pytestmark = pytest.mark.root

TASK = "AAAAAAAAQAaAAAAAAAAAAA"


@pytest.fixture
def web(yard: Yard) -> Iterator[Web]:
    """A queue that has artifacts, behind the proxy."""
    with Web() as web:
        yard.use(proxy={"port": web.port}, taskcluster={"root_url": web.url})
        yield web
        yard.use(images={"expire_after_s": 0.0})
        yard.bench.sweep()


def made_by_task(path: str = "public/image.tar") -> dict[str, str]:
    return {"type": "task-image", "taskId": TASK, "path": path}


def test_a_task_runs_in_the_image_of_another_and_chain_of_trust_is_told_of_it(yard: Yard, web: Web) -> None:
    web.artifact(TASK, "public/image.tar", b"".join(yard.daemon.get_image(yard.image)))
    result = yard.run("echo hello from $0", image=made_by_task())

    assert task_output(result)[-1].startswith("hello from")
    assert result.outcome.succeeded
    told = result.index.environment
    assert told["imageHash"] == yard.daemon.inspect_image(yard.image)["Id"]
    assert told["imageArtifactHash"].startswith("sha256:")


def test_chain_of_trust_is_told_of_the_image_when_the_process_died_while_collecting(
    yard: Yard, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.artifact(TASK, "public/image.tar", b"".join(yard.daemon.get_image(yard.image)))
    run = yard.claim("true", image=made_by_task(), features={"chainOfTrust": True})
    with monkeypatch.context() as patch:
        patch.setattr(Index, "write", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        assert yard.bench.start(run).wait() == -signal.SIGKILL
    assert yard.bench.result(run).record.phase == "collecting"

    assert yard.bench.start(run).wait() == 0

    assert yard.bench.result(run).index.environment.keys() == {"imageHash", "imageArtifactHash"}


def test_an_image_that_cannot_be_had_fails_the_task_with_the_reason_in_its_log(yard: Yard, web: Web) -> None:
    result = yard.run("true", image=made_by_task("public/missing.tar"))

    assert (result.outcome.state, result.outcome.reason) == ("failed", "failed")
    assert "[taskcluster:error] Pulling docker image has failed." in result.log
    assert (
        f'[taskcluster:error] Error: Could not download artifact "public/missing.tar" from task "{TASK}"' in result.log
    )


def test_a_task_without_a_command_needs_an_image_with_one(yard: Yard, web: Web) -> None:
    web.artifact(TASK, "public/image.tar", Picture(command=None).saved())
    result = yard.run([], image=made_by_task())

    assert (result.outcome.state, result.outcome.reason) == ("failed", "failed")
    assert "[taskcluster:error] There is nothing to run: the image names no command" in result.log
    assert "Pulling docker image has failed" not in result.log
