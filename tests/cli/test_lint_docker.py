"""``taskward lint`` for tasks in containers; the command itself is tested in `test_lint`."""

from dataclasses import replace
from typing import Any

import pytest

from taskward.cli.inspection import Problem, advise, at_work, generous, inspect
from taskward.executor.docker.features.rights import Rights

TIMES = {"created": "2026-01-01T00:00:00Z", "deadline": "2026-01-02T00:00:00Z", "expires": "2026-02-01T00:00:00Z"}
OTHER = "AAAAAAAAQAaAAAAAAAAAAA"


def problems(scopes: tuple[str, ...] = (), definition: dict[str, Any] | None = None, **more: Any) -> list[Problem]:
    payload = {"image": "ubuntu:24.04", "command": ["true"], "maxRunTime": 60, **more}
    task = {"taskQueueId": "p/q", **TIMES, "scopes": list(scopes), "payload": payload, **(definition or {})}
    return list(inspect(task, generous("p/q", payload)))


def test_a_good_task_is_ok() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("payload", "where", "text"),
    [
        ({"comand": []}, "payload", "Additional property comand is not allowed; did you mean command?"),
        ({"image": {"type": "task-image"}}, "payload.image", "is required"),
        ({"maxRunTime": 604_801}, "payload.maxRunTime", "must be at most 604800"),
        (
            {"artifacts": {"a": {"type": "file", "path": "/a", "expires": "2026-03-01T00:00:00Z"}}},
            "payload.artifacts.a.expires",
            "must not be greater than task expiration",
        ),
        ({"log": "public/../x"}, "payload.log", "no artifact can be named"),
        ({"artifacts": {"\u00e9": {"type": "file", "path": "/a"}}}, "payload.artifacts.\\xe9", "no artifact can be"),
        ({"supersederUrl": "ftp://x"}, "feature Supersede", "must be a URL that begins with http"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(payload: dict[str, Any], where: str, text: str) -> None:
    (problem, *_) = problems(**payload)

    assert problem.where == where
    assert text in problem.text


def test_what_has_no_effect_is_noted() -> None:
    payload = {"image": "ubuntu:24.04", "maxRunTime": 60, "features": {"azureLiveLog": True}}

    (note,) = advise({"taskQueueId": "p/q", **TIMES, "payload": payload}, generous("p/q", payload))

    assert note.where == "payload"
    assert note.text.startswith("features.azureLiveLog has no effect")


@pytest.mark.parametrize(
    ("payload", "scope"),
    [
        ({"cache": {"c": "/c"}}, "docker-worker:cache:c"),
        ({"cache": {"c": "/c"}}, "docker-worker:cache:c:p/q"),
        ({"capabilities": {"privileged": True}}, "docker-worker:capability:privileged:p/q"),
        ({"capabilities": {"devices": {"kvm": True}}}, "docker-worker:capability:device:kvm"),
    ],
)
def test_scopes_that_are_missing_are_told(payload: dict[str, Any], scope: str) -> None:
    (problem,) = problems(**payload)

    assert problem.where == "scopes"
    assert problems((scope,), **payload) == []


def test_a_worker_of_which_nothing_is_known_has_every_proxy() -> None:
    features = dict.fromkeys(("taskclusterProxy", "balrogVPNProxy", "relengAPIProxy"), True)
    scopes = ("docker-worker:feature:balrogVPNProxy", "docker-worker:relengapi-proxy:tooltool.download.public")

    assert problems(scopes, features=features) == []


def test_a_feature_that_no_worker_has_yet_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskward.executor.docker.features.ORDER", (Rights,))

    (problem,) = problems(features={"dind": True, "dockerSave": True, "localLiveLog": False})

    assert problem.text == "payload.features: dind, dockerSave are not enabled on this worker"


def test_the_task_that_makes_the_image_should_be_a_dependency() -> None:
    image = {"type": "task-image", "taskId": OTHER, "path": "public/image.tar"}

    (problem,) = problems(image=image)

    assert problem.where == "dependencies"
    assert problem.text.startswith(OTHER)
    assert problems(definition={"dependencies": [OTHER]}, image=image) == []


def test_dates_that_are_wrong_do_not_hide_what_else_is_wrong() -> None:
    found = problems(definition={"expires": "soon"}, comand=[])

    assert [problem.where for problem in found] == ["expires", "payload"]


def test_a_workers_own_switches_count() -> None:
    settings = generous("p/q", {})
    locked = replace(settings, docker=replace(settings.docker, allow_privileged=False))
    payload = {"image": "u", "maxRunTime": 60, "capabilities": {"privileged": True}}

    (problem,) = inspect({**TIMES, "scopes": ["*"], "payload": payload}, locked)

    assert "Worker must be enabled to allow running of privileged tasks" in problem.text


def test_docker_in_tasks_is_the_workers_to_offer() -> None:
    settings = generous("p/q", {})
    locked = replace(settings, docker=replace(settings.docker, enable_dind=False))
    payload = {"image": "u", "maxRunTime": 60, "features": {"dind": True}}

    assert list(inspect({**TIMES, "payload": payload}, settings)) == []
    (problem,) = inspect({**TIMES, "payload": payload}, locked)
    assert problem.text == "payload.features: dind is not enabled on this worker ([docker] enable_dind)"


def test_privileged_containers_need_no_docker_in_tasks() -> None:
    payload = {"image": "u", "maxRunTime": 60, "features": {"dind": True}, "capabilities": {"privileged": True}}

    (problem,) = inspect({**TIMES, "scopes": ["*"], "payload": payload}, generous("p/q", {}))

    assert "dind is not for privileged containers" in problem.text


def test_a_worker_without_containers_takes_no_images() -> None:
    settings = generous("p/q", {})
    without = replace(settings, docker=replace(settings.docker, enabled=False))

    (problem,) = inspect({**TIMES, "payload": {"image": "u", "maxRunTime": 60}}, without)

    assert problem == Problem("payload.image", "this worker has no containers: [docker] enabled is off")


def test_a_worker_gives_its_containers_a_proxy_where_it_runs() -> None:
    settings = generous("p/q", {})
    written = replace(settings, others={"proxy": {"port": 60024}})
    task = {**TIMES, "payload": {"image": "u", "maxRunTime": 60, "features": {"taskclusterProxy": True}}}

    assert list(inspect(task, at_work(written))) == []
