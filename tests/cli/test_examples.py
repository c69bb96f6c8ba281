"""The examples of the documentation are tasks that a worker would take."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from taskward.cli import taskfile
from taskward.cli.inspection import generous, inspect

EXAMPLES = sorted((Path(__file__).parents[2] / "docs/examples").rglob("*.yml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_no_problem(example: Path) -> None:
    task = taskfile.complete(taskfile.read(example), "proj-example/linux", "example", datetime.now(UTC))

    assert list(inspect(task, generous("proj-example/linux", task["payload"]))) == []
