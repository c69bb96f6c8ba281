"""Caches of containers: who gets what the one before has left."""

from typing import Any

import pytest

from executor.docker.yard import Yard, task_output
from taskward.executor.mounts.store import Store

pytestmark = pytest.mark.root
SCOPES = ("docker-worker:cache:*",)


def test_a_cache_is_found_again_with_its_owners_and_rights(yard: Yard) -> None:
    yard.run("echo kept > /c/file; chown 1000 /c/file; chmod 4755 /c/file", SCOPES, cache={"level-1": "/c"})
    result = yard.run(
        "stat -c '%u %a' /d/file; cat /d/file; ls /other", SCOPES, cache={"level-1": "/d", "l-2": "/other"}
    )

    assert task_output(result) == ["1000 4755", "kept"]
    assert 'using cache "level-1" -> /d\n' in result.log


def test_users_of_a_container_other_than_root_may_look_into_a_new_cache(yard: Yard) -> None:
    result = yard.run("stat -c %a /c; echo 1 > /c/file; su someone -c 'cat /c/file'", SCOPES, cache={"fresh": "/c"})

    assert task_output(result) == ["755", "1"]


def test_a_cache_needs_its_scope_or_that_of_the_pool(yard: Yard) -> None:
    without = yard.run("true", ("docker-worker:cache:other",), cache={"mine": "/c"})
    of_pool = yard.run("true", ("docker-worker:cache:mine:proj-x/linux",), cache={"mine": "/c"})

    assert (without.outcome.state, of_pool.outcome.state) == ("failed", "completed")
    assert "Insufficient scopes to attach cache volumes." in without.log
    assert "=== Task Starting ===" not in without.log


@pytest.mark.parametrize("place", ["/c:ro", "relative", "/"])
def test_a_place_that_means_something_else_is_malformed(yard: Yard, place: str) -> None:
    result = yard.run("true", SCOPES, cache={"mine": place})

    assert result.outcome.reason == "malformed-payload"
    assert "=== Task Starting ===" not in result.log


def test_two_at_once_do_not_share_and_an_aborted_one_leaves_nothing(yard: Yard) -> None:
    yard.run("echo first > /c/file", SCOPES, cache={"shared": "/c"})
    run = yard.bench.claim(yard.payload("cat /c/file; sleep 1000", cache={"shared": "/c"}), scopes=list(SCOPES))
    job = yard.bench.start(run)
    yard.bench.wait_for_line(run, "first")

    beside = yard.run("ls /c | wc -l; echo own > /c/own", SCOPES, cache={"shared": "/c"})
    yard.bench.records.abort(run, "canceled")
    assert job.wait() == 0
    after = yard.run("ls /c", SCOPES, cache={"shared": "/c"})

    assert task_output(beside) == ["0"]
    assert task_output(after) == ["own"]
    assert 'cache "shared" is not kept: the task did not end by itself' in yard.bench.result(run).log


@pytest.mark.parametrize(
    "wrong", [{"command": ["nosuch"]}, {"cache": {"warm": "/proc"}}, {"capabilities": {"devices": {"kvm": True}}}]
)
def test_a_task_whose_container_never_starts_spoils_no_cache(yard: Yard, wrong: dict[str, Any]) -> None:
    yard.run("echo warm > /c/file", SCOPES, cache={"warm": "/c"})
    failed = yard.bench.run_payload({**yard.payload("true", cache={"warm": "/c"}), **wrong}, scopes=list(SCOPES))
    after = yard.run("cat /c/file", SCOPES, cache={"warm": "/c"})

    assert not failed.outcome.succeeded
    assert "is not kept" not in failed.log
    assert task_output(after) == ["warm"]


def test_an_exit_code_can_throw_caches_away(yard: Yard) -> None:
    yard.run("echo bad > /c/file; exit 0", SCOPES, cache={"purged": "/c"}, onExitStatus={"purgeCaches": [0]})
    result = yard.run("ls /c | wc -l", SCOPES, cache={"purged": "/c"})

    assert task_output(result) == ["0"]


def test_the_purge_cache_service_is_heard(yard: Yard) -> None:
    yard.run("echo old > /c/file", SCOPES, cache={"stale": "/c"})
    yard.purges.requests = [{"cacheName": "stale", "before": "2999-01-01T00:00:00Z"}]
    result = yard.run("ls /c | wc -l", SCOPES, cache={"stale": "/c"})
    yard.purges.requests = []

    assert task_output(result) == ["0"]


def test_what_a_killed_worker_left_is_not_used_again(yard: Yard) -> None:
    run = yard.bench.claim(yard.payload("echo x > /c/half; echo written; sleep 1000", cache={"killed": "/c"}),
                           scopes=list(SCOPES))  # fmt: skip
    job = yard.bench.start(run)
    yard.bench.wait_for_line(run, "written")
    job.kill()
    assert yard.bench.start(run).wait() == 0

    result = yard.run("ls /c | wc -l", SCOPES, cache={"killed": "/c"})

    assert yard.bench.result(run).outcome.reason == "worker-shutdown"
    assert task_output(result) == ["0"]
    yard.bench.sweep()
    keys = [facts.key for _, facts in Store(yard.bench.state_dir).container_caches.listing()]
    assert keys.count("killed") == 1
