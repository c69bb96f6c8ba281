"""``taskward lint``: what a worker would say of a task, before there is one."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import WriteConfig

GOOD: dict[str, Any] = {"command": [["true"]], "maxRunTime": 60}
TIMES = {"created": "2026-01-01T00:00:00Z", "deadline": "2026-01-02T00:00:00Z", "expires": "2026-02-01T00:00:00Z"}
OTHER = "AAAAAAAAQAaAAAAAAAAAAA"
Lint = Callable[..., tuple[int, list[dict[str, str]]]]


def run(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "taskward.cli", "lint", *words]
    return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def lint(tmp_path: Path) -> Lint:
    """Exit code and problems of one task."""

    def check(task: Any, *words: str) -> tuple[int, list[dict[str, str]]]:
        file = tmp_path / "task.yml"
        file.write_text(json.dumps(task))
        done = run("--json", *words, str(file))
        assert "Traceback" not in done.stderr
        (result,) = json.loads(done.stdout)
        assert result["ok"] is (done.returncode == 0)
        return done.returncode, result["problems"]

    return check


def task(**payload: Any) -> dict[str, Any]:
    return {"taskQueueId": "p/q", **TIMES, "payload": {**GOOD, **payload}}


@pytest.mark.parametrize("what", [GOOD, task(), {"provisionerId": "p", "workerType": "q", "payload": GOOD}])
def test_a_good_task_or_payload_is_ok(lint: Lint, what: Any) -> None:
    assert lint(what) == (0, [])


@pytest.mark.parametrize(
    ("payload", "where", "text"),
    [
        ({"features": {"chainOfTruth": True}}, "payload.features", "did you mean chainOfTrust?"),
        ({"artefacts": []}, "payload", "Additional property artefacts is not allowed; did you mean artifacts?"),
        ({"maxRunTime": "60"}, "payload.maxRunTime", 'Expected: integer (given: "60")'),
        ({"onExitStatus": {"retry": [0]}}, "payload.onExitStatus.retry.0", "greater than or equal to 1 (given: 0)"),
        ({"encryptedEnv": [1]}, "payload.encryptedEnv.0", "Expected: string"),
        ({"maxRunTime": 10_000_000}, "payload", "exceeded allowed maximum"),
        ({"image": "ubuntu"}, "payload.command.0", 'Expected: string (given: ["true"])'),
    ],
)
def test_what_the_schema_forbids_is_told_with_its_place(
    lint: Lint, payload: dict[str, Any], where: str, text: str
) -> None:
    code, (problem, *_) = lint(task(**payload))

    assert code == 1
    assert problem["where"] == where
    assert text in problem["text"]


@pytest.mark.parametrize(
    ("payload", "scope"),
    [
        ({"osGroups": ["docker"]}, "generic-worker:os-group:p/q/docker"),
        ({"features": {"loopbackVideo": True}}, "generic-worker:loopback-video:p/q"),
        ({"features": {"runTaskAsCurrentUser": True}}, "generic-worker:run-task-as-current-user:p/q"),
        ({"mounts": [{"directory": "d", "cacheName": "mine"}]}, "generic-worker:cache:mine"),
        ({"rdpInfo": "login-identity/me/rdpInfo.json"}, "generic-worker:allow-rdp:p/q"),
    ],
)
def test_scopes_that_are_missing_are_named(lint: Lint, payload: dict[str, Any], scope: str) -> None:
    code, problems = lint(task(**payload))

    assert code == 1
    assert any(scope in each["text"] for each in problems)
    assert lint({**task(**payload), "scopes": [scope]}) == (0, [])


@pytest.mark.parametrize(
    ("expires", "text"),
    [
        ("2026-01-01T12:00:00Z", "expires before task deadline"),
        ("2026-03-01T00:00:00Z", "expires after task expiry"),
        ("2026-01-15T00:00:00Z", ""),
    ],
)
def test_artifacts_live_between_deadline_and_expiry(lint: Lint, expires: str, text: str) -> None:
    code, problems = lint(task(artifacts=[{"type": "file", "path": "f", "expires": expires}]))

    assert [text in each["text"] for each in problems] == ([True] if text else [])
    assert code == (1 if text else 0)


def test_a_definition_without_expiry_lasts_a_year_as_in_the_queue(lint: Lint) -> None:
    wanted = task(artifacts=[{"type": "file", "path": "f", "expires": "2027-01-01T00:00:00Z"}])
    del wanted["expires"]

    assert lint(wanted) == (0, [])
    _, (problem,) = lint({**wanted, "deadline": "2025-12-31T00:00:00Z", "created": "2025-12-30T00:00:00Z"})
    assert "expires after task expiry" in problem["text"]
    assert "2026-12-31" in problem["text"]


@pytest.mark.parametrize("deadline", ["2028-02-29T00:00:00Z", "9999-12-31T23:00:00Z"])
def test_a_deadline_without_the_same_day_next_year_is_no_problem(lint: Lint, deadline: str) -> None:
    wanted = {**task(), "deadline": deadline}
    del wanted["expires"]

    assert lint(wanted) == (0, [])


def test_artifacts_that_could_not_be_uploaded_are_told(lint: Lint) -> None:
    wanted: dict[str, dict[str, Any]] = {
        "0.name: no artifact can be named 'public/../x'": {"name": "public/../x"},
        "1.path: no artifact can be named '../x'": {"path": "../x"},
        "2.name: no artifact can be named": {"name": "\u00e9"},
        "3.name: no artifact can be named": {"name": "n" * 1025},
        "4.contentType: must be printable ASCII": {"contentType": "a/b\r\nX: y"},
    }

    code, problems = lint(task(artifacts=[{"type": "file", "path": "f", **each} for each in wanted.values()]))

    assert code == 1
    for each, start in zip(problems, wanted, strict=True):
        assert f"{each['where']}: {each['text']}".startswith(f"payload.artifacts.{start}")


def test_artifacts_with_which_no_run_could_end_well_are_told(lint: Lint) -> None:
    files = [{"path": "f"}, {"path": "g", "name": "f"}, {"path": "../x", "name": "x"}]

    code, problems = lint(task(artifacts=[{"type": "file", **each} for each in files]))

    assert code == 1
    assert [each["where"] for each in problems] == ["payload.artifacts.2.path", "payload.artifacts.1"]
    assert "leads out of the task directory" in problems[0]["text"]
    assert problems[1]["text"] == "artifacts.0 is named 'f', too, and has other content"


def test_what_may_be_meant_otherwise_is_noted_and_no_problem() -> None:
    wanted = task(artifacts=[{"type": "file", "path": "f", "name": "public/100%"}], features={"backingLog": False})

    plain, as_json = run("-", text=json.dumps(wanted)), run("--json", "-", text=json.dumps(wanted))

    assert (plain.returncode, as_json.returncode) == (0, 0)
    ok, log, name = plain.stdout.splitlines()
    assert ok == "-: ok"
    assert log.startswith("-: note: payload.features.backingLog: is off")
    assert name.startswith("-: note: payload.artifacts.0: readers may fail to fetch 'public/100%'")
    (result,) = json.loads(as_json.stdout)
    assert (result["ok"], result["problems"]) == (True, [])
    assert [each["where"] for each in result["notes"]] == ["payload.features.backingLog", "payload.artifacts.0"]


def test_a_mounted_artifact_needs_its_task_as_a_dependency(lint: Lint) -> None:
    wanted = task(mounts=[{"file": "f", "content": {"taskId": OTHER, "artifact": "public/f"}}])

    code, (problem,) = lint(wanted)

    assert code == 1
    assert f"task.dependencies needs to include {OTHER}" in problem["text"]
    assert lint({**wanted, "dependencies": [OTHER]}) == (0, [])


def test_all_problems_are_told_at_once(lint: Lint) -> None:
    artifacts = [{"type": "file", "path": path, "expires": "2020-01-01T00:00:00Z"} for path in "ab"]

    _, problems = lint(task(artifacts=artifacts, osGroups=["users"], supersederUrl="ftp://x"))

    assert len(problems) == 4


def test_two_artifacts_of_features_cannot_have_one_name(lint: Lint) -> None:
    _, (problem,) = lint(task(logs={"live": "public/x", "backing": "public/x"}))

    assert "has already reserved this artifact name" in problem["text"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"deadline": "soon"}, "deadline"),
        ({"deadline": 7}, "deadline"),
        ({"deadline": "2025-01-01T00:00:00Z"}, "deadline"),
        ({"expires": "2026-01-01T00:00:01Z"}, "expires"),
        ({"taskQueueId": "nonsense"}, "taskQueueId"),
    ],
)
def test_the_definition_itself_is_looked_at(lint: Lint, change: dict[str, Any], where: str) -> None:
    code, (problem, *_) = lint({**task(), **change})

    assert (code, problem["where"]) == (1, where)


def test_a_workers_own_switches_and_limits_count(lint: Lint, write_config: WriteConfig) -> None:
    config = str(write_config(executor={"enable_interactive": False}, worker={"max_run_time_s": 100}))
    wanted = {**task(features={"interactive": True}), "taskQueueId": "proj-x/linux"}

    assert lint(wanted) == (0, [])
    code, (problem,) = lint(wanted, "--config", config)
    assert code == 1
    assert "which is not enabled on this worker pool (proj-x/linux)" in problem["text"]
    _, (problem,) = lint({**task(maxRunTime=101), "taskQueueId": "proj-x/linux"}, "--config", config)
    assert "exceeded allowed maximum of 100" in problem["text"]


def test_a_task_for_another_queue_is_told(lint: Lint, write_config: WriteConfig) -> None:
    _, (problem,) = lint(task(), "--config", str(write_config()))

    assert problem["where"] == "taskQueueId"
    assert "'proj-x/linux'" in problem["text"]


@pytest.mark.parametrize("text", ["", "[]", "a: [", "just text", "maxRunTime: 1\ncommand: []\nmaxRunTime: 2"])
def test_what_is_no_task_at_all_is_wrong_usage(text: str) -> None:
    done = run("-", text=text)

    assert done.returncode == 2
    assert done.stderr.startswith("Error: -: ")


def test_several_files_are_checked_and_people_can_read_it(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(json.dumps(GOOD))
    (tmp_path / "b.yml").write_text(json.dumps({**GOOD, "maxRunTime": 0}))

    done = run(str(tmp_path / "a.yml"), str(tmp_path / "b.yml"))

    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{tmp_path}/a.yml: ok",
        f"{tmp_path}/b.yml: payload.maxRunTime: Must be greater than or equal to 1 (given: 0)",
    ]


def test_no_file_and_no_such_file_are_wrong_usage() -> None:
    assert run().returncode == 2
    assert run("/nowhere/task.yml").returncode == 2


def test_a_configuration_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "task.yml").write_text(json.dumps(GOOD))
    (tmp_path / "worker.toml").write_text("[worker]\ncapactiy = 1\n")

    done = run("--config", str(tmp_path / "worker.toml"), str(tmp_path / "task.yml"))

    assert done.returncode == 64


def test_help_has_examples_and_exit_codes() -> None:
    text = run("--help").stdout

    assert "Examples:" in text
    assert "Exit codes: 0 nothing is wrong, 1 something is, 2" in text
