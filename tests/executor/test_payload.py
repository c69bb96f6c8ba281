import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.bench import Bench
from taskward.executor.errors import MalformedPayload
from taskward.executor.payload import Payload, PayloadRefused
from taskward.executor.validation import problems, schema

VALID: dict[str, Any] = {"command": [["true"]], "maxRunTime": 60}


def refused(payload: Any) -> str:
    with pytest.raises(PayloadRefused) as caught:
        Payload.parse("AAAA", payload, 3600)
    assert str(caught.value) == "validation of payload failed for task AAAA"
    return "\n".join(caught.value.problems)


def test_defaults_are_those_of_generic_worker() -> None:
    payload = Payload.parse("AAAA", VALID, 3600)

    assert payload.features == {"liveLog", "backingLog", "resourceMonitor"}
    assert (payload.live_log, payload.backing_log) == ("public/logs/live.log", "public/logs/live_backing.log")
    assert (payload.commands, payload.script) == ((("true",),), ())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"artefacts": []}, "(root): Additional property artefacts is not allowed; did you mean artifacts?"),
        ({"features": {"chainOfTruth": True}}, "chainOfTruth is not allowed; did you mean chainOfTrust?"),
        ({"command": []}, "command: Array must have at least 1 items"),
        ({"command": [[]]}, "command.0: Array must have at least 1 items"),
        ({"command": [["a"], "b"]}, "command: all entries must be of one kind"),
        ({"command": "true"}, 'command: Invalid type. Expected: array (given: "true")'),
        ({"command": [[1]]}, "command.0.0: Invalid type. Expected: string (given: 1)"),
        ({"command": [["a\0b"]]}, "command.0.0: must not contain a NUL character"),
        ({"env": {"a\0": "b"}}, "must not contain a NUL character"),
        ({"env": {"A": "\ud800"}}, "env.A: is not valid Unicode"),
        ({"env": {"A": 1}}, "env.A: Invalid type. Expected: string (given: 1)"),
        ({"env": {"A=B": "x"}}, "env: 'A=B' is not a name for a variable"),
        ({"env": {"": "x"}}, "env: '' is not a name for a variable"),
        ({"maxRunTime": 0}, "maxRunTime: Must be greater than or equal to 1 (given: 0)"),
        ({"maxRunTime": True}, "maxRunTime: Invalid type. Expected: integer (given: true)"),
        ({"maxRunTime": 1.5}, "maxRunTime: Invalid type. Expected: integer (given: 1.5)"),
        ({"maxRunTime": "60"}, 'maxRunTime: Invalid type. Expected: integer (given: "60")'),
        ({"onExitStatus": {"retry": [0]}}, "onExitStatus.retry.0: Must be greater than or equal to 1"),
        ({"onExitStatus": {"retry": [-1]}}, "onExitStatus.retry.0: Must be greater than or equal to 1"),
        ({"artifacts": [{"path": "x"}]}, "artifacts.0: type is required"),
        ({"artifacts": [{"type": "file", "path": "x"}] * 2}, "artifacts: array items must be unique"),
        (
            {"artifacts": [{"type": "file", "path": "x", "contentEncoding": "br"}]},
            'artifacts.0.contentEncoding: artifacts.0.contentEncoding must be one of the following: "identity", "gzip"',
        ),
        ({"artifacts": [{"type": "file", "path": "x", "expires": "soon"}]}, "Does not match format 'date-time'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(change: dict[str, Any], text: str) -> None:
    assert text in refused({**VALID, **change})


@pytest.mark.parametrize("payload", [None, [], "x", 1, {}])
def test_what_is_no_payload_at_all_is_refused(payload: Any) -> None:
    assert refused(payload).startswith("(root): ")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"maxRunTime": 3601}, "task's maxRunTime of 3601 exceeded allowed maximum of 3600"),
        ({"features": {"runAsAdministrator": True}}, "payload.features.runAsAdministrator is for Windows"),
        ({"taskclusterProxyInterface": "docker-bridge"}, "taskclusterProxyInterface"),
    ],
)
def test_what_this_worker_does_not_offer_is_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(MalformedPayload, match=text.replace(".", r"\.")):
        Payload.parse("AAAA", {**VALID, **change}, 3600)


def test_keys_of_both_eras_are_accepted_when_they_ask_for_nothing() -> None:
    off = dict.fromkeys(
        ("interactive", "loopbackVideo", "loopbackAudio", "runTaskAsCurrentUser", "hideCmdWindow"), False
    )

    Payload.parse("AAAA", {**VALID, "features": off, "mounts": [], "osGroups": [], "rdpInfo": ""}, 3600)


def artifact(path: str, kind: str = "file", **more: Any) -> dict[str, Any]:
    return {**VALID, "artifacts": [{"type": kind, "path": path, **more}]}


@pytest.mark.parametrize("name", ["..", "a/../b", "a/./b", "\u00e9", "a\tb", "x\x7f", "n" * 1025])
def test_an_artifact_whose_name_the_queue_cannot_bear_is_refused(name: str) -> None:
    assert "artifacts.0.name: no artifact can be named" in refused(artifact("f", name=name))
    assert "artifacts.0.name: no artifact can be named" in refused(artifact("f", name=name, optional=True))


@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("path", ["..", "../x", "d/../../x", "\u00e9", "n" * 1025])
def test_a_path_is_refused_where_it_has_to_be_the_name(path: str, kind: str) -> None:
    assert "artifacts.0.path: no artifact can be named" in refused(artifact(path, kind))
    Payload.parse("AAAA", artifact(path, kind, name="public/x"), 3600)


@pytest.mark.parametrize("path", ["./d/f", "x/../d/f", "/etc/passwd", "d//f"])
def test_a_path_becomes_a_name_without_its_dots(path: str) -> None:
    Payload.parse("AAAA", artifact(path), 3600)


@pytest.mark.parametrize("name", [".", "./", "a/..", "public/", "/"])
def test_the_name_of_a_directory_is_only_the_beginning_of_names(name: str) -> None:
    Payload.parse("AAAA", artifact("d", "directory", name=name), 3600)


@pytest.mark.parametrize("content_type", ["text/plain\r\nX-Evil: 1", "text/pl\u00e4in", "\t"])
def test_a_content_type_that_no_header_can_bear_is_refused(content_type: str) -> None:
    assert "artifacts.0.contentType: must be printable ASCII" in refused(artifact("f", contentType=content_type))


def test_a_huge_payload_is_checked_quickly_and_told_briefly() -> None:
    artifacts = [{"type": "file", "path": str(number), "nmae": "x" * 5000} for number in range(2000)]

    assert len(refused({**VALID, "artifacts": artifacts})) < 20_000


def test_a_malformed_payload_is_told_in_the_log_and_nothing_is_run(bench: Bench) -> None:
    result = bench.run_payload({"command": [["echo", "never"]], "maxRunTime": 9, "artefacts": []})

    assert (result.outcome.state, result.outcome.reason) == ("exception", "malformed-payload")
    assert result.output == []
    lines = [line.removeprefix("[taskcluster:error] ") for line in result.log.splitlines() if ":error]" in line]
    assert lines[0] == "Task payload for this worker type must conform to the following jsonschema:"
    end = lines.index("TASK FAIL since the task payload is invalid. See errors:")
    assert json.loads("\n".join(lines[1:end])) == schema()
    assert lines[end + 1 :] == [
        "- (root): Additional property artefacts is not allowed; did you mean artifacts?",
        f"validation of payload failed for task {result.record.run.task_id}",
    ]
    assert "=== Task Starting ===" in result.log
    assert "=== Task Finished ===" not in result.log
    assert (result.index.live_log_name, result.index.backing_log_name) == ("", "public/logs/live_backing.log")
    assert result.record.references == ()


def test_a_task_without_payload_is_malformed(bench: Bench) -> None:
    assert bench.run_payload(None).outcome.reason == "malformed-payload"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(database=None, deadline=None)
@given(st.dictionaries(st.sampled_from([*schema()["properties"], "other"]), json_values))
def test_any_json_is_either_valid_or_told(payload: dict[str, Any]) -> None:
    found = problems(payload)

    assert all(line.isprintable() and len(line) < 1000 for line in found)
    if not found:
        Payload.parse("AAAA", {**payload, "maxRunTime": 1}, 3600) if _is_offered(payload) else None


def _is_offered(payload: dict[str, Any]) -> bool:
    return {*payload} <= {"command", "maxRunTime"} and len({type(entry) for entry in payload["command"]}) == 1
