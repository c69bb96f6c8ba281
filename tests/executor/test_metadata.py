"""``generic-worker-metadata.json``, and keys of Windows workers."""

import json

from executor.bench import Bench


def test_the_last_task_is_named_for_whoever_looks_after_the_machine(bench: Bench) -> None:
    bench.run([["true"]])
    run = bench.run([["false"]]).record.run

    file = bench.state_dir / "generic-worker-metadata.json"
    assert json.loads(file.read_text()) == {"lastTaskUrl": f"https://tc.example.com/tasks/{run.task_id}/runs/0"}
    assert file.stat().st_mode & 0o777 == 0o644
    assert not list(bench.state_dir.glob(".generic-worker-metadata*"))


def test_a_worker_can_do_without(bench: Bench) -> None:
    bench.configure("executor", enable_metadata=False)
    bench.run([["true"]])

    assert not (bench.state_dir / "generic-worker-metadata.json").exists()


def test_no_command_window_is_hidden_where_there_are_none(bench: Bench) -> None:
    assert bench.run([["true"]], features={"hideCmdWindow": True}).outcome.succeeded


def test_nobody_becomes_administrator_here(bench: Bench) -> None:
    result = bench.run([["true"]], features={"runAsAdministrator": True})

    assert result.outcome.reason == "malformed-payload"
    assert "runAsAdministrator is for Windows" in result.log
