from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from taskward.cli import taskfile
from taskward.cli.artifacts import fetch
from taskward.cli.errors import BadInput, CommandError

NOW = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)


def test_payload_becomes_a_whole_definition() -> None:
    task = taskfile.complete({"command": [["true"]], "maxRunTime": 60}, "p/q", "build", NOW)
    assert task["payload"] == {"command": [["true"]], "maxRunTime": 60}
    assert task["taskQueueId"] == "p/q"
    assert task["created"] == "2026-11-22T01:02:03.000Z"
    assert task["deadline"] == "2026-11-23T01:02:03.000Z"
    assert task["expires"] == "2026-12-20T01:02:03.000Z"
    assert task["metadata"]["name"] == "build"


def test_definition_keeps_what_it_says() -> None:
    written = {
        "taskQueueId": "a/b",
        "payload": {"x": 1},
        "deadline": "2026-11-22T02:00:00.000Z",
        "metadata": {"name": "mine"},
    }
    task = taskfile.complete(written, "p/q", "build", NOW)
    assert (task["taskQueueId"], task["deadline"], task["payload"]) == ("a/b", written["deadline"], {"x": 1})
    assert task["metadata"]["name"] == "mine"
    assert task["metadata"]["owner"]
    assert "expires" not in task  # then the queue's default counts


def test_old_names_of_the_queue_are_left_alone() -> None:
    task = taskfile.complete({"provisionerId": "a", "workerType": "b", "payload": {}}, "p/q", "build", NOW)
    assert "taskQueueId" not in task


@pytest.mark.parametrize(
    "text", ["- a\n- b\n", "just text", "", "{1: 2}", "a: [", "!!python/object/apply:os.getcwd []"]
)
def test_file_that_is_no_table_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "task.yml"
    file.write_text(text)
    with pytest.raises(CommandError, match=r"task\.yml"):
        taskfile.read(file)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 3000, "nested too deeply"),
        ("payload: {}\nmetadata: 5\n", "metadata must be a table"),
        ("payload: {}\nmetadata:\n", "metadata must be a table"),
        ("payload: &a {command: *a}\n", "Circular reference"),
        ("payload: {env: {A: !!binary aGk=}}\n", "a value of type bytes"),
    ],
)
def test_what_is_no_definition_is_told(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "task.yml"
    file.write_text(text)
    with pytest.raises(CommandError, match=rf"task\.yml: .*{why}"):
        taskfile.read(file)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("command: [a]\nmaxRunTime: 1\ncommand: [b]\n", "line 3: 'command' is there twice, first in line 1; keep one"),
        ("payload:\n  env:\n    A: 1\n    A: 2\n", "line 4: 'A' is there twice, first in line 3"),
        ("payload: {env: {1: a, '1': b}}\n", "line 1: '1' is there twice"),
        ('{"payload": {},\n"payload": {}}', "line 2: 'payload' is there twice"),
    ],
)
def test_key_that_is_there_twice_is_refused_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "task.yml"
    file.write_text(text)
    with pytest.raises(CommandError, match=rf"task\.yml: {why}"):
        taskfile.read(file)


def test_merged_key_may_be_written_again(tmp_path: Path) -> None:
    file = tmp_path / "task.yml"
    file.write_text("payload:\n  a: &a {x: 1, y: 1}\n  b: &b {<<: *a, x: 2}\n  c: {<<: *b, x: 3}\n")
    assert taskfile.read(file)["payload"]["c"] == {"x": 3, "y": 1}


def test_bare_times_become_text(tmp_path: Path) -> None:
    file = tmp_path / "task.yml"
    file.write_text("deadline: 2026-11-22T02:00:00Z\npayload: {}\n")
    assert taskfile.read(file)["deadline"] == "2026-11-22T02:00:00.000Z"


def test_file_without_end_is_not_read_to_it() -> None:
    with pytest.raises(BadInput, match="larger than the 10485760 bytes"):
        taskfile.read(Path("/dev/zero"))


@pytest.mark.parametrize("name", ["../evil", "public/../../evil", "/etc/evil", "a/\0b", ""])
def test_artifact_that_would_leave_the_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError, match="outside"):
        fetch(_no_queue(), "task", 0, name, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_symbolic_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/public").symlink_to(tmp_path)
    with pytest.raises(CommandError, match="symbolic link"):
        fetch(_no_queue(), "task", 0, "public/evil", tmp_path / "out")


def test_artifact_whose_name_is_a_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "public/logs").mkdir(parents=True)
    with pytest.raises(CommandError, match=r"artifact 'public/logs' cannot be saved as .*: Is a directory"):
        fetch(_no_queue(), "task", 0, "public/logs", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="cannot be saved as"):
        fetch(_no_queue(), "task", 0, "file/below", tmp_path)


def _no_queue() -> Any:
    """Nothing is asked before the name is checked."""
    return object()


def test_aliases_that_stand_for_more_than_any_memory_holds_are_refused(tmp_path: Path) -> None:
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    file = tmp_path / "bomb.yml"
    file.write_text(f"a0: &a0 [{', '.join('x' * 9)}]\n{levels}command: *a8\n")

    with pytest.raises(CommandError, match="stand for more than 1000000 values"):
        taskfile.read(file)


def test_merged_keys_that_stand_for_more_than_any_memory_holds_are_refused(tmp_path: Path) -> None:
    levels = "".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    file = tmp_path / "bomb.yml"
    file.write_text(f"a0: &a0 {{x: 1, y: 2}}\n{levels}")

    with pytest.raises(CommandError, match="stand for more than 1000000 values"):
        taskfile.read(file)


def test_an_alias_is_what_it_stands_for(tmp_path: Path) -> None:
    file = tmp_path / "task.yml"
    file.write_text("env: &e {A: '1'}\nextra: {<<: *e, B: '2'}\nmore: [*e, *e]\n")

    assert taskfile.read(file) == {"env": {"A": "1"}, "extra": {"A": "1", "B": "2"}, "more": [{"A": "1"}] * 2}
