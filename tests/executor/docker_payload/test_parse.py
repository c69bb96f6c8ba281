"""From docker-worker's keys to the value that all engines take."""

from typing import Any

import pytest

from executor.docker_payload.asking import SETTINGS, TASK_ID, ask, utc
from taskward.executor.docker.payload import is_docker
from taskward.executor.docker.request import DockerRequest, Image, backing_log_of


def test_a_payload_with_an_image_is_docker_workers() -> None:
    assert is_docker({"image": None})
    assert not is_docker({"command": [["true"]]})
    assert not is_docker(None)


def test_defaults_are_those_of_docker_worker() -> None:
    payload = ask()

    assert payload.features == {"liveLog", "backingLog", "artifacts"}
    assert payload.asked == frozenset()
    assert (payload.live_log, payload.backing_log) == ("public/logs/live.log", "public/logs/live_backing.log")
    assert payload.docker == DockerRequest(Image("docker-image", name="ubuntu:24.04"))
    assert (payload.commands, payload.script, payload.artifacts, payload.warnings) == ((), (), (), ())


@pytest.mark.parametrize(
    ("image", "expected", "shown"),
    [
        ("u", Image("docker-image", name="u"), "u"),
        ({"type": "docker-image", "name": "u"}, Image("docker-image", name="u"), "u"),
        (
            {"type": "indexed-image", "namespace": "a.b", "path": "public/i.tar"},
            Image("indexed-image", namespace="a.b", path="public/i.tar"),
            "public/i.tar of a.b",
        ),
        (
            {"type": "task-image", "taskId": TASK_ID, "path": "public/i.tar"},
            Image("task-image", task_id=TASK_ID, path="public/i.tar"),
            f"public/i.tar of task {TASK_ID}",
        ),
    ],
)
def test_images(image: Any, expected: Image, shown: str) -> None:
    payload = ask(image=image)

    assert payload.docker is not None
    assert payload.docker.image == expected
    assert str(payload.docker.image) == shown


def test_features_go_by_the_names_that_all_engines_share() -> None:
    payload = ask(features={"localLiveLog": True, "chainOfTrust": True, "dind": False, "taskclusterProxy": True})

    assert payload.features == {"liveLog", "backingLog", "artifacts", "chainOfTrust", "taskclusterProxy"}
    assert payload.asked == {"liveLog", "backingLog", "chainOfTrust", "taskclusterProxy"}


def test_without_the_live_log_there_is_no_log_at_all() -> None:
    assert not ask(features={"localLiveLog": False}).features & {"liveLog", "backingLog"}


def test_without_the_artifacts_feature_no_artifact_is_kept() -> None:
    artifacts = {"public/x": {"type": "file", "path": "/x"}}

    assert ask(artifacts=artifacts, features={"artifacts": False}).artifacts == ()


def test_artifacts_lie_below_the_root_of_the_container() -> None:
    artifacts = {
        "public/a": {"type": "file", "path": "a.txt", "expires": "2026-01-01T00:00:00Z"},
        "public/b": {"type": "directory", "path": "/b/"},
    }

    first, second = ask(artifacts=artifacts).artifacts

    assert (first.name, first.path, first.expires) == ("public/a", "/a.txt", utc("2026-01-01T00:00:00+00:00"))
    assert (second.name, second.type, second.path, second.expires) == ("public/b", "directory", "/b/", None)


@pytest.mark.parametrize(
    ("live", "backing"),
    [
        ("public/logs/live.log", "public/logs/live_backing.log"),
        ("public/mine.tar.txt", "public/mine.tar_backing.txt"),
        ("public.d/log", "public.d/log_backing"),
        (".log", ".log_backing"),
    ],
)
def test_the_backing_log_is_named_after_the_live_log(live: str, backing: str) -> None:
    assert ask(log=live).backing_log == backing_log_of(live) == backing


def test_devices_that_are_false_are_not_asked_for() -> None:
    phone = {"type": "flame", "sims": "1", "build": "x", "memory": "319"}
    payload = ask(capabilities={"privileged": True, "devices": {"kvm": True, "loopbackVideo": False, "phone": phone}})

    assert payload.docker is not None
    assert payload.docker.devices == {"kvm", "phone"}
    assert payload.docker.phone == phone
    assert (payload.docker.privileged, payload.docker.disable_seccomp) == (True, False)


def test_what_has_no_effect_any_more_is_told() -> None:
    graphs, azure = sorted(ask(graphs=["/g"], features={"azureLiveLog": True}).warnings, reverse=True)

    assert graphs.startswith("payload.graphs has no effect")
    assert azure.startswith("features.azureLiveLog has no effect")
    assert ask(features={"extendTaskGraph": True}).features == ask().features


def test_exit_codes_caches_and_variables_are_passed_on() -> None:
    payload = ask(
        onExitStatus={"retry": [4, 5.0], "purgeCaches": [0]}, cache={"c": "/c"}, env={"A": "1"}, command=["a", "b"],
        encryptedEnv=["x"], supersederUrl="https://s.example.com/",
    )  # fmt: skip

    assert (payload.retry_codes, payload.purge_codes) == (frozenset({4, 5}), frozenset({0}))
    assert payload.docker is not None
    assert (payload.docker.caches, payload.docker.command) == ({"c": "/c"}, ("a", "b"))
    assert (payload.env, payload.encrypted_env) == ({"A": "1"}, ("x",))
    assert payload.superseder_url == "https://s.example.com/"


def test_the_worker_limits_the_run_time() -> None:
    assert ask(maxRunTime=SETTINGS.worker.max_run_time_s).max_run_time_s == 86_400
