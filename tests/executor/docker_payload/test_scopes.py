"""What a task in a container may have, by its scopes and by the worker's switches, in docker-worker's words."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.docker_payload.asking import TASK_ID, ask
from taskward.core.settings import DockerSettings
from taskward.executor.docker.scopes import Granted, first_refusal, missing

OPEN = DockerSettings(allow_privileged=True, allow_disable_seccomp=True)
PRIVATE = {"type": "task-image", "taskId": TASK_ID, "path": "private/i.tar"}
KINDS: list[tuple[dict[str, Any], str]] = [
    ({"cache": {"c": "/c"}}, "docker-worker:cache:c"),
    ({"capabilities": {"devices": {"kvm": True}}}, "docker-worker:capability:device:kvm"),
    ({"capabilities": {"privileged": True}}, "docker-worker:capability:privileged"),
    ({"capabilities": {"disableSeccomp": True}}, "docker-worker:capability:disableSeccomp"),
    ({"features": {"allowPtrace": True}}, "docker-worker:feature:allowPtrace"),
    ({"features": {"balrogVPNProxy": True}}, "docker-worker:feature:balrogVPNProxy"),
    ({"features": {"balrogStageVPNProxy": True}}, "docker-worker:feature:balrogStageVPNProxy"),
    ({"image": PRIVATE}, "queue:get-artifact:private/i.tar"),
]


def lacks(
    change: dict[str, Any], *scopes: str, expanded: Sequence[str] = (), settings: DockerSettings = OPEN
) -> list[str]:
    return list(missing(ask(**change), Granted(scopes, expanded or scopes, "p/q"), settings))


@pytest.mark.parametrize(("change", "scope"), KINDS)
def test_a_scope_opens_its_lock_and_no_other(change: dict[str, Any], scope: str) -> None:
    (text,) = lacks(change, *(other for _, other in KINDS if other != scope))

    assert scope in text
    assert lacks(change, scope) == []
    assert lacks(change, f"{scope[:-1]}*") == []
    assert lacks(change, "*") == []
    assert len(lacks(change, f"{scope}x", scope[:-1], f"x{scope}")) == 1


@pytest.mark.parametrize(("change", "scope"), KINDS[:4])
def test_some_scopes_may_name_the_pool(change: dict[str, Any], scope: str) -> None:
    assert lacks(change, f"{scope}:p/q") == []
    assert len(lacks(change, f"{scope}:p/other")) == 1


@pytest.mark.parametrize(("change", "scope"), KINDS)
def test_roles_count_for_caches_and_devices_only(change: dict[str, Any], scope: str) -> None:
    lacking = lacks(change, "assume:project:x", expanded=["assume:project:x", scope])

    assert bool(lacking) is not scope.startswith(("docker-worker:cache", "docker-worker:capability:device"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"capabilities": {"privileged": True}},
            "Insufficient scopes to run task in privileged mode. Try adding docker-worker:capability:privileged to the "
            ".scopes array",
        ),
        (
            {"cache": {"c": "/c"}},
            "Insufficient scopes to attach cache volumes.  The task must have scope "
            "`docker-worker:cache:<cache-name>` for each cache in `payload.caches`.",
        ),
        (
            {"capabilities": {"devices": {"kvm": True}}},
            "Insufficient scopes to attach devices to task container.  The task must have scope "
            "`docker-worker:capability:device:<dev-name>` for each device.",
        ),
        (
            {"features": {"allowPtrace": True}},
            "Insufficient scopes to use 'allowPtrace' feature.  Try adding docker-worker:feature:allowPtrace to the "
            ".scopes array.",
        ),
        (
            {"features": {"balrogVPNProxy": True}},
            "Insufficient scopes to use 'balrogVPNProxy' feature. Try adding docker-worker:feature:balrogVPNProxy to "
            "the .scopes array.",
        ),
        (
            {"image": PRIVATE},
            f'Not authorized to use {{"type": "task-image", "taskId": "{TASK_ID}", "path": "private/i.tar"}}.  Ensure '
            "that the task scopes are correctly defined in the task definition",
        ),
        (
            {"cache": {"a::b": "/c"}},
            'Invalid key name was provided.  Ensure that the cache name does not contain "::".',
        ),
    ],
)
def test_the_words_are_those_of_docker_worker(change: dict[str, Any], text: str) -> None:
    assert lacks(change)[0].startswith(text)


def test_every_cache_that_is_lacking_is_named() -> None:
    (text,) = lacks({"cache": {"a": "/a", "b": "/b", "c": "/c"}}, "docker-worker:cache:b")

    assert text.endswith("Missing: docker-worker:cache:a, docker-worker:cache:c")


@pytest.mark.parametrize("capability", ["privileged", "disableSeccomp"])
def test_a_scope_alone_does_not_open_what_the_worker_has_locked(capability: str) -> None:
    (text,) = lacks({"capabilities": {capability: True}}, "*", settings=DockerSettings())

    assert "Worker must be enabled to allow running of" in text


def test_what_the_worker_has_locked_is_named_as_docker_worker_did() -> None:
    (text,) = lacks({"capabilities": {"privileged": True}}, "*", settings=DockerSettings())

    assert text.startswith(
        "Cannot run task using docker privileged mode.  Worker must be enabled to allow running of privileged tasks."
    )


@pytest.mark.parametrize("path", ["public/i.tar", "/public/i.tar"])
def test_a_public_image_needs_no_scope(path: str) -> None:
    assert lacks({"image": {**PRIVATE, "path": path}}) == []


@pytest.mark.parametrize("path", ["publicity/i.tar", "x/public/i.tar", "//public/i.tar"])
def test_a_path_that_only_looks_public_needs_one(path: str) -> None:
    assert len(lacks({"image": {**PRIVATE, "path": path}})) == 1


def test_names_of_caches_cannot_forge_lines() -> None:
    assert all(text.isprintable() for text in lacks({"cache": {"a\n[taskcluster:error] b": "/c"}}))


def test_a_plain_task_needs_no_scope() -> None:
    assert lacks({}) == []
    assert first_refusal(ask(), Granted((), (), "p/q"), OPEN) == ""


def test_the_log_says_that_the_container_could_not_be_configured() -> None:
    text = first_refusal(ask(cache={"c": "/c"}), Granted((), (), "p/q"), OPEN)

    assert text.startswith(
        "Docker configuration could not be created.  This may indicate an authentication error when validating scopes "
        "necessary for running the task. \nError: Insufficient scopes to attach cache volumes."
    )
    assert first_refusal(ask(image=PRIVATE), Granted((), (), "p/q"), OPEN).startswith("Not authorized")


@given(st.lists(st.text(max_size=12)), st.text(min_size=1, max_size=8))
def test_no_cache_is_attached_without_a_scope_that_covers_it(scopes: list[str], name: str) -> None:
    wanted = f"docker-worker:cache:{name}"
    covered = any(s in (wanted, f"{wanted}:p/q") or (s.endswith("*") and wanted.startswith(s[:-1])) for s in scopes)
    if not name.isprintable():
        return

    found = [text for text in lacks({"cache": {name: "/c"}}, *scopes) if "Insufficient" in text]

    assert bool(found) is not covered
