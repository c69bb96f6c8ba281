"""What `taskward lint` tells of payloads that no worker refuses."""

from typing import Any

import pytest

from executor.docker_payload.asking import ask
from taskward.executor.payload import Payload
from taskward.executor.payload_advice import mistakes, notes


def file(path: str, **more: Any) -> dict[str, Any]:
    return {"type": "file", "path": path, **more}


def payload(*artifacts: dict[str, Any], **more: Any) -> Payload:
    return Payload.parse("AAAA", {"command": [["true"]], "maxRunTime": 60, "artifacts": [*artifacts], **more}, 3600)


@pytest.mark.parametrize("second", [file("b", name="x"), file("./x"), file("a", name="x", contentType="a/b")])
def test_two_files_cannot_be_one_artifact(second: dict[str, Any]) -> None:
    assert [*mistakes(payload(file("a", name="x"), second))] == [
        "artifacts.1: artifacts.0 is named 'x', too, and has other content"
    ]


@pytest.mark.parametrize(
    "second", [file("./a"), file("a", optional=True), file("b"), {"type": "directory", "path": "d", "name": ""}]
)
def test_one_file_may_be_listed_twice(second: dict[str, Any]) -> None:
    assert [*mistakes(payload(file("a"), second))] == []


@pytest.mark.parametrize("path", ["../x", "d/../../x", ".."])
def test_a_path_that_leads_out_of_the_task_directory_is_told(path: str) -> None:
    (told,) = mistakes(payload(file(path, name="x")))

    assert told.startswith("artifacts.0.path: leads out of the task directory; give an absolute path")
    assert [*mistakes(payload(file(path, name="public/x", optional=True), file("..x"), file("/x")))] == []


def test_names_that_readers_cannot_fetch_are_noted() -> None:
    told = [*notes(payload(file("a", name="public/100%"), file("b%"), logs={"backing": "public/a//b"}))]

    assert [line.partition(":")[0] for line in told] == ["artifacts.0", "logs.backing"]
    assert "readers may fail to fetch 'public/100%': the queue does not escape '%' in its links" in told[0]


def test_a_log_that_is_not_kept_is_noted() -> None:
    (told,) = notes(payload(features={"backingLog": False}))

    assert told.startswith("features.backingLog: is off, so the log can only be read while the task runs")
    assert [*notes(payload(features={"backingLog": False, "liveLog": False}))] == []
    assert [*notes(payload(features={"liveLog": False}))] == []


def test_containers_are_looked_at_as_well() -> None:
    wanted = ask(artifacts={"public/a%b": {"type": "file", "path": "../x"}})

    assert [*mistakes(wanted)] == []
    (told,) = notes(wanted)
    assert told.startswith("artifacts.public/a%b: readers may fail to fetch")


def test_a_good_payload_needs_no_advice() -> None:
    good = payload(file("a", name="public/a"), {"type": "directory", "path": "d", "name": "public/d"})

    assert [*mistakes(good), *notes(good), *mistakes(ask()), *notes(ask())] == []
