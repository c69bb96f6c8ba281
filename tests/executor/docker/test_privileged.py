"""Privileged containers, on a daemon of their own, since this machine may lack a right that they would have."""

from collections.abc import Iterator

import pytest

from executor.docker.yard import Yard, opened, task_output
from simulators.docker import busybox_image
from simulators.redis import RedisServer
from simulators.second_daemon import LESSER_RUNTIME, SecondDaemon

pytestmark = pytest.mark.root
SCOPE = "docker-worker:capability:privileged"
PRIVILEGED = {"privileged": True}
PROGRAM = """
mkdir -p /tmp/m
mount -t tmpfs tmpfs /tmp/m && echo mounted
mknod /tmp/null c 1 3 && echo x 2>/dev/null >/tmp/null && echo device
grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status
true
"""


@pytest.fixture(scope="module")
def yard(redis_server: RedisServer) -> Iterator[Yard]:
    """A worker that allows privileged tasks."""
    with SecondDaemon() as second:
        with second.connect() as client:
            image = busybox_image(client)
        with opened(redis_server, image, second.url) as yard:
            yield yard


@pytest.fixture(autouse=True)
def settings(yard: Yard) -> None:
    yard.use({"allow_privileged": True, "privileged_runtime": LESSER_RUNTIME})


@pytest.mark.parametrize("scope", [SCOPE, f"{SCOPE}:proj-x/linux"])
def test_privileged_task_may_what_root_may(yard: Yard, scope: str) -> None:
    result = yard.run(PROGRAM, [scope], capabilities=PRIVILEGED)

    assert result.outcome.succeeded, result.log
    assert task_output(result) == ["mounted", "device", "NoNewPrivs:\t0", "Seccomp:\t0"]
    assert yard.left_over(result.record.run) == []


def test_scope_alone_gives_no_rights(yard: Yard) -> None:
    result = yard.run(PROGRAM, [SCOPE])

    assert result.outcome.succeeded
    assert "permission denied" in result.log
    assert "mounted" not in result.log
    assert task_output(result)[-2:] == ["NoNewPrivs:\t1", "Seccomp:\t2"]


@pytest.mark.parametrize("scopes", [[], [f"{SCOPE}:other/pool"]])
def test_privileged_without_the_scope_fails_before_anything_is_made(yard: Yard, scopes: list[str]) -> None:
    result = yard.run("echo ran", scopes, capabilities=PRIVILEGED)

    assert (result.outcome.state, result.outcome.reason) == ("failed", "failed")
    assert f"Try adding {SCOPE} to the .scopes array" in result.log
    assert task_output(result) == []
    assert yard.containers() == []


def test_privileged_on_a_worker_that_does_not_allow_it_fails_before_anything_is_made(yard: Yard) -> None:
    yard.use({"allow_privileged": False, "privileged_runtime": LESSER_RUNTIME})

    result = yard.run("echo ran", [SCOPE], capabilities=PRIVILEGED)

    assert result.outcome.state == "failed"
    assert "Worker must be enabled to allow running of privileged tasks." in result.log
    assert task_output(result) == []
    assert yard.containers() == []


def test_runtime_that_the_daemon_does_not_have_is_named(yard: Yard) -> None:
    yard.use({"allow_privileged": True, "privileged_runtime": "no-such-runtime"})

    result = yard.run("echo ran", [SCOPE], capabilities=PRIVILEGED)

    assert not result.outcome.succeeded
    assert "no-such-runtime" in result.log
    assert yard.left_over(result.record.run) == []
