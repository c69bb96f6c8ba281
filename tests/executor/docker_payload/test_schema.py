"""What docker-worker's payload may look like, and how it is told what is wrong with one."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.docker_payload.asking import EXPIRES, MINIMAL, SETTINGS, TASK_ID, TOLERANT, ask
from taskward.executor.docker.payload import parse
from taskward.executor.payload import PayloadRefused
from taskward.executor.validation import problems, schema


def refused(**change: Any) -> str:
    with pytest.raises(PayloadRefused) as caught:
        ask(**change)
    assert caught.value.dialect == "docker-worker"
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"artefacts": {}}, "(root): Additional property artefacts is not allowed; did you mean artifacts?"),
        ({"features": {"localLivelog": True}}, "localLivelog is not allowed; did you mean localLiveLog?"),
        ({"features": {"dind": 1}}, "features.dind: Invalid type. Expected: boolean (given: 1)"),
        ({"maxRunTime": 0}, "maxRunTime: Must be greater than or equal to 1 (given: 0)"),
        ({"maxRunTime": 1.5}, "maxRunTime: Invalid type. Expected: integer (given: 1.5)"),
        ({"maxRunTime": "60"}, 'maxRunTime: Invalid type. Expected: integer (given: "60")'),
        ({"maxRunTime": 86_401}, "maxRunTime: must be at most 86400, the most that this worker allows (given: 86401)"),
        ({"command": "true"}, 'command: Invalid type. Expected: array (given: "true")'),
        ({"command": [["true"]]}, 'command.0: Invalid type. Expected: string (given: ["true"])'),
        ({"command": ["a\0"]}, "command.0: must not contain a NUL character"),
        ({"env": {"A": 1}}, "env.A: Invalid type. Expected: string (given: 1)"),
        ({"env": {"A=B": "1"}}, "env: 'A=B' is not a name for a variable"),
        ({"onExitStatus": {"retry": ["1"]}}, 'onExitStatus.retry.0: Invalid type. Expected: integer (given: "1")'),
        ({"artifacts": {"public/x": {"type": "file"}}}, "artifacts.public/x: path is required"),
        ({"artifacts": {"public/x": {"type": "link", "path": "/x"}}}, '"file", "directory", "volume" (given: "link")'),
        ({"artifacts": {"x": {"type": "file", "path": "/x", "expires": "soon"}}}, "Does not match format 'date-time'"),
        ({"capabilities": {"devices": {"cpu": True}}}, "capabilities.devices: Additional property cpu is not allowed"),
        ({"capabilities": {"devices": {"phone": {}}}}, "capabilities.devices.phone: memory is required"),
        ({"cache": {"": "/x"}}, "cache: the name of a cache must not be empty"),
        ({"cache": {"c": "x"}}, "cache.c: must be an absolute path in the container, without a colon (given: 'x')"),
        ({"cache": {"c": "/x:ro"}}, "cache.c: must be an absolute path in the container, without a colon"),
        ({"cache": {"c": "//"}}, "cache.c: must not be the root of the container"),
        ({"cache": {"c": "/x/.."}}, "cache.c: must not be the root of the container"),
        ({"cache": {"a/../b": "/c"}, "features": {"dockerSave": True}}, "it has '.' or '..' as a part"),
        ({"cache": {"\xfc": "/c"}, "features": {"dockerSave": True}}, "named 'public/cache/\\xfc.tar': it has"),
        ({"env": {"A": "b" * 131_070}}, "env.A: name, = and value have 131072 bytes, and Linux gives a program"),
        ({"env": {"A": "\xfc" * 65_536}}, "env.A: name, = and value have 131074 bytes"),
        ({"command": ["x", "\u20ac" * 50_000]}, "command.1: it has 150000 bytes, and Linux gives a"),
        ({"cache": {"c": "/x", "d": "/x/"}}, "cache.d: cache.c is at that path already (given: '/x/')"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(change: dict[str, Any], text: str) -> None:
    assert text in refused(**change)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (7, "image: Invalid type. Expected: string (given: 7)"),
        ("", "image: '' should be non-empty"),
        ({}, "image: type is required"),
        ({"type": "docker"}, '"docker-image", "indexed-image", "task-image" (given: "docker")'),
        ({"type": "docker-image"}, "image: name is required"),
        ({"type": "indexed-image", "namespace": "a.b"}, "image: path is required"),
        ({"type": "indexed-image", "namspace": "a", "path": "p"}, "namspace is not allowed; did you mean namespace?"),
        ({"type": "task-image", "path": "public/x.tar"}, "image: taskId is required"),
        ({"type": "task-image", "taskId": "me", "path": "public/x.tar"}, "image.taskId: 'me' does not match"),
        ({"type": "task-image", "taskId": f"{TASK_ID}\n", "path": "public/x"}, "image.taskId: "),
        (
            {"type": "task-image", "taskId": TASK_ID, "path": "public/../private/x"},
            "image.path: no artifact can be named 'public/../private/x': it has '.' or '..' as a part",
        ),
        ({"type": "indexed-image", "namespace": "../x", "path": "public/x"}, "image.namespace: must be words joined"),
    ],
)
def test_an_image_has_one_of_four_forms(image: Any, text: str) -> None:
    assert text in refused(image=image)


def test_a_volume_and_a_cache_cannot_be_at_one_path() -> None:
    text = refused(cache={"c": "/x"}, artifacts={"public/x": {"type": "volume", "path": "x"}})

    assert text == "artifacts.public/x.path: cache.c is at that path already (given: '/x')"


def test_an_artifact_cannot_outlive_its_task() -> None:
    text = refused(artifacts={"public/x": {"type": "file", "path": "/x", "expires": "2026-02-01T00:00:00.001Z"}})

    assert text == (
        "artifacts.public/x.expires: Artifact expiration for 'public/x' must not be greater than task expiration. "
        "Artifact expiration is '2026-02-01T00:00:00.001Z' but task expiration is '2026-02-01T00:00:00.000Z'"
    )


def test_an_artifact_may_expire_before_the_deadline_as_it_always_could() -> None:
    payload = ask(artifacts={"public/x": {"type": "file", "path": "/x", "expires": "2020-01-01T00:00:00Z"}})

    assert len(payload.artifacts) == 1


def test_names_cannot_forge_lines() -> None:
    late = {"type": "file", "path": "/x", "expires": "2027-01-01T00:00:00Z"}

    lines = refused(artifacts={"a\nb": late}, cache={"c\nd": "x"}, env={"e\n=": "f"}).splitlines()

    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("name", ["public/../x", "\u00fc", "n" * 1025, "..", "/", "a\nb"])
def test_artifacts_whose_names_the_queue_cannot_bear_are_refused(name: str) -> None:
    artifact = {"type": "file", "path": "/x"}

    assert "no artifact can be named" in refused(artifacts={name: artifact})
    assert ask(artifacts={name: artifact}, features={"artifacts": False}).artifacts == ()


def test_all_problems_are_told_at_once() -> None:
    late = {"type": "file", "path": "/x", "expires": "2027-01-01T00:00:00Z"}

    assert len(refused(maxRunTime=10**6, env={"": ""}, cache={"c": "x"}, artifacts={"x": late}).splitlines()) == 4


def test_an_artifact_that_comes_too_late_is_told_beside_what_is_no_payload() -> None:
    late = {"type": "file", "path": "/x", "expires": "2027-01-01T00:00:00Z"}
    odd = {"a": 5, "b": {"expires": 5}, "c": {"expires": "never"}, "d": None}

    told = refused(maxRunTime="hello", artifacts={"x": late, **odd})

    assert "maxRunTime: Invalid type" in told
    assert "Artifact expiration for 'x' must not be greater than task expiration" in told


@pytest.mark.parametrize("payload", [None, [], "x", {}, {"image": "x"}, {"maxRunTime": 3}])
def test_what_is_no_payload_at_all_is_refused(payload: Any) -> None:
    with pytest.raises(PayloadRefused):
        parse(TASK_ID, {"expires": EXPIRES, "payload": payload}, SETTINGS)


@pytest.mark.parametrize(
    "change",
    [
        {"encryptedEnv": ["eA=="], "graphs": ["/graph.json"], "supersederUrl": "https://example.com/"},
        {"features": dict.fromkeys(schema("docker-worker")["properties"]["features"]["properties"], False)},
        {"capabilities": {"devices": {"phone": {"type": "flame", "sims": "1", "build": "x", "memory": "319"}}}},
        {"onExitStatus": {"retry": [-1, 0, 256], "purgeCaches": [0]}},
        {"maxRunTime": 60.0, "command": [], "log": "public/mine.txt"},
    ],
)
def test_keys_of_every_era_are_taken(change: dict[str, Any]) -> None:
    ask(**change)


def test_a_tolerant_worker_tells_what_it_ignores() -> None:
    payload = ask(
        TOLERANT, scopes=[], capabilities={"turbo": True, "devices": {"cpu": True}},
        image={"type": "docker-image", "name": "a", "x": 1},
    )  # fmt: skip

    assert payload.docker is not None
    assert payload.docker.devices == frozenset()

    assert set(payload.warnings) == {
        "ignored in task.payload: (root): Additional property scopes is not allowed",
        "ignored in task.payload: capabilities: Additional property turbo is not allowed",
        "ignored in task.payload: capabilities.devices: Additional property cpu is not allowed",
        "ignored in task.payload: image: Additional property x is not allowed",
    }


@pytest.mark.parametrize("change", [{"features": {"unknown": False}}, {"maxRunTime": 0}, {"image": {"type": "x"}}])
def test_a_tolerant_worker_refuses_what_docker_worker_always_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PayloadRefused):
        ask(TOLERANT, **change)


def test_a_tolerant_worker_makes_text_of_variables_as_javascript_did() -> None:
    env = {"a": 1, "b": True, "c": False, "d": None, "e": 2.0, "f": 2.5, "g": "x"}

    assert ask(TOLERANT, env=env).env == {
        "a": "1", "b": "true", "c": "false", "d": "null", "e": "2", "f": "2.5", "g": "x"
    }  # fmt: skip


def test_a_huge_payload_is_checked_quickly_and_told_briefly() -> None:
    artifacts = {f"public/{number}": {"type": "file", "pfad": "x" * 5000} for number in range(2000)}

    assert len(refused(artifacts=artifacts)) < 20_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
payloads = st.dictionaries(st.sampled_from([*schema("docker-worker")["properties"], "other"]), json_values)


@settings(database=None, deadline=None)
@given(payloads, st.booleans())
def test_any_json_is_either_taken_or_told(payload: dict[str, Any], strict: bool) -> None:
    wanted = {**MINIMAL, **payload}
    found: Sequence[str] = ()
    try:
        parse(TASK_ID, {"expires": EXPIRES, "payload": wanted}, SETTINGS if strict else TOLERANT)
    except PayloadRefused as error:
        found = error.problems or ["refused without a reason"]

    assert all(line.isprintable() and len(line) < 1500 for line in found)
    assert found or not strict or not problems(wanted, "docker-worker")


def test_the_schema_says_what_each_key_is_for() -> None:
    def keys(part: Any) -> Any:
        for name, each in part.get("properties", {}).items():
            yield name, each
            yield from keys(each)

    told = {name: "description" in part for name, part in keys(schema("docker-worker"))}
    assert [name for name, is_told in told.items() if not is_told] == []
    assert json.dumps(schema("docker-worker")).isascii()
