"""``features.runTaskAsCurrentUser``: refused in every doubtful case, and complete where it is allowed."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from executor.bench import Bench, Result, shell
from taskward.core import keys
from taskward.executor.peer import addresses

SCOPE = "generic-worker:run-task-as-current-user:proj-x/linux"


def ask(bench: Bench, script: str = "true", *, features: dict[str, bool] | None = None, scopes: Any = (SCOPE,),
        **payload: Any) -> Result:  # fmt: skip
    on = {"runTaskAsCurrentUser": True, **(features or {})}
    task = {"command": shell(script), "maxRunTime": 20, "features": on, **payload}
    return bench.run_payload(task, scopes=list(scopes))


@pytest.fixture
def allowed(bench: Bench) -> Bench:
    bench.configure("executor", enable_run_task_as_current_user=True)
    return bench


def refusal(result: Result) -> str:
    assert result.outcome.reason == "malformed-payload"
    assert result.output == []
    return result.outcome.message


def test_it_is_off_unless_the_worker_says_otherwise(bench: Bench) -> None:
    assert "requires feature runTaskAsCurrentUser, which is not enabled on this worker pool" in refusal(ask(bench))


@pytest.mark.parametrize("scopes", [[], ["generic-worker:run-task-as-current-user:proj-x/other"]])
def test_it_needs_the_pools_scope(allowed: Bench, scopes: list[str]) -> None:
    assert SCOPE in refusal(ask(allowed, scopes=scopes))


def test_it_is_refused_where_other_tasks_run_beside_it(bench: Bench) -> None:
    bench.settings = type(bench.settings)(**vars(bench.settings))
    bench.configure("executor", enable_run_task_as_current_user=True)
    worker = type(bench.settings.worker)(**{**vars(bench.settings.worker), "capacity": 2})
    bench.settings = type(bench.settings)(**{**vars(bench.settings), "worker": worker})

    assert "capacity of 1; this one's is 2" in refusal(ask(bench))


@pytest.mark.parametrize("feature", ["chainOfTrust", "generateCertificate"])
def test_nothing_is_certified_for_who_could_read_the_key(allowed: Bench, feature: str) -> None:
    text = "was expecting attempt to read private chain of trust key as task user to fail - however, it did not"
    assert text in refusal(ask(allowed, features={feature: True}))


@pytest.mark.root
def test_commands_are_the_worker_and_are_told_who_the_task_is(allowed: Bench) -> None:
    result = ask(allowed, "id -un; cat $TASK_USER_CREDENTIALS; echo")

    user, credentials = result.output
    assert user == "root"
    assert json.loads(credentials) == {"name": f"task_{result.record.run.task_id[:13]}_0", "password": ""}


@pytest.mark.root
def test_files_that_only_root_may_read_become_artifacts(allowed: Bench) -> None:
    result = ask(allowed, "umask 077; echo x > f", artifacts=[{"type": "file", "path": "f"}])

    assert result.outcome.succeeded
    assert result.content("f") == b"x\n"


@pytest.mark.root
def test_groups_are_not_joined(allowed: Bench) -> None:
    result = ask(allowed, scopes=["*"], osGroups=["users", "games"])

    assert result.outcome.succeeded
    assert "Not adding task user to group(s) [users games] since we are running as current user." in result.log


@pytest.mark.root
def test_what_it_leaves_running_dies_with_it(allowed: Bench) -> None:
    result = ask(allowed, "(setsid bash -c 'setsid sleep 1000 & echo $!' &); sleep 0.3")

    assert result.outcome.succeeded
    assert not allowed.is_alive(int(result.output[0]))


@pytest.mark.root
def test_the_proxy_serves_the_user_that_the_commands_have(allowed: Bench) -> None:
    payload = {"command": shell("echo ready; sleep 1000"), "maxRunTime": 900,
               "features": {"runTaskAsCurrentUser": True, "taskclusterProxy": True}}  # fmt: skip
    run = allowed.claim(payload, scopes=[SCOPE])
    job = allowed.start(run)
    allowed.wait_until(lambda: allowed.has_log(run) and allowed.result(run).output == ["ready"])

    assert allowed.redis.hget(keys.peer(next(addresses(run))), "uid") == b"0"
    allowed.records.abort(run, "canceled")
    assert job.wait() == 0


@pytest.mark.root
def test_the_next_task_is_an_ordinary_one_again(allowed: Bench) -> None:
    ask(allowed)

    result = allowed.run(shell("id -un; echo ${TASK_USER_CREDENTIALS-none}"))

    assert result.output[0].startswith("task_")
    assert result.output[1] == "none"
    assert not Path(f"/home/{result.output[0]}").exists()
    assert os.geteuid() == 0
