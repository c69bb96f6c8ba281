"""Caches that are thrown away: what tasks did to them, and what the purge-cache service asks for."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from executor.bench import Bench
from executor.mounts.caching import COUNT, SCOPES, cache, kept, payload, run, start
from executor.mounts.web import Web
from taskward.core.clock import format_time


@pytest.mark.parametrize(("code", "purged"), [(0, True), (3, True), (4, False)])
def test_exit_codes_of_the_payload_purge_it(mounting: Bench, code: int, purged: bool) -> None:
    result = run(mounting, f"{COUNT}; exit {code}", onExitStatus={"purgeCaches": [0, 3]})

    assert ("[mounts] Removing cache one from cache table" in result.log) is purged
    assert ("[mounts] Deleting cache one file(s) at " in result.log) is purged
    assert ("[mounts] Preserving cache: Moving " in result.log) is not purged
    assert len(kept(mounting)) == (0 if purged else 1)


def test_a_task_that_takes_too_long_loses_its_cache(mounting: Bench) -> None:
    result = mounting.run_payload({**payload(f"{COUNT}; sleep 100"), "maxRunTime": 1}, scopes=SCOPES)

    assert result.outcome.state == "failed"
    assert "[mounts] Purging caches since the task was aborted" in result.log
    assert run(mounting, COUNT).output == ["1"]


def test_a_cancelled_task_loses_its_cache(mounting: Bench) -> None:
    claimed, job = start(mounting, COUNT)

    mounting.records.abort(claimed, "canceled")

    assert job.wait() == 0
    assert "[mounts] Purging caches since the task was aborted" in mounting.result(claimed).log
    assert run(mounting, COUNT).output == ["1"]


@pytest.mark.parametrize("sweeps", [True, False])
def test_a_cache_whose_worker_was_killed_is_not_trusted(mounting: Bench, sweeps: bool) -> None:
    run(mounting, COUNT)
    claimed, job = start(mounting, "echo poison > c/poison")
    job.kill()
    if sweeps:
        assert mounting.start(claimed).wait() == 0
        mounting.sweep()
        assert not kept(mounting)

    result = run(mounting, f"ls c; {COUNT}")

    assert result.output == ["1"]
    assert len(kept(mounting)) == 1
    assert not (kept(mounting)[0].parent / "content/poison").exists()


@pytest.mark.root
def test_nothing_of_a_killed_task_stays_mounted_and_nothing_is_deleted_through_it(mounting: Bench) -> None:
    run(mounting, "touch c/precious", cache("other"))
    claimed, job = start(mounting, "true", cache("other"), cache("one", "d"))
    witness = mounting.state_dir / "caches/witness"
    witness.mkdir()
    job.kill()

    assert mounting.start(claimed).wait() == 0
    witness.rmdir()

    assert str(mounting.state_dir) not in Path("/proc/self/mountinfo").read_text()
    assert not mounting.layout.task_directory(claimed).exists()


def test_a_request_throws_away_what_is_older(mounting: Bench, web: Web) -> None:
    run(mounting, COUNT)
    web.purge("one", format_time(datetime.now(UTC) + timedelta(minutes=1)))

    result = run(mounting, COUNT)

    assert result.output == ["1"]
    assert "[mounts] Removing cache one from cache table (purge request)" in result.log


def test_the_margin_is_five_minutes(mounting: Bench, web: Web) -> None:
    run(mounting, COUNT)
    web.purge("one", format_time(datetime.now(UTC) - timedelta(minutes=6)))

    assert run(mounting, COUNT).output == ["2"]


def test_only_the_named_cache_goes(mounting: Bench, web: Web) -> None:
    run(mounting, COUNT)
    web.purge("another", format_time(datetime.now(UTC) + timedelta(minutes=1)))

    assert run(mounting, COUNT).output == ["2"]


def test_what_is_in_use_goes_when_it_comes_back(mounting: Bench, web: Web) -> None:
    claimed = mounting.claim(payload(f"{COUNT}; echo up; while ! [ -e go ]; do sleep 0.05; done"), scopes=SCOPES)
    job = mounting.start(claimed)
    mounting.wait_until(lambda: mounting.has_log(claimed) and "up" in mounting.result(claimed).output)
    web.purge("one", format_time(datetime.now(UTC) + timedelta(minutes=1)))
    other = run(mounting, "true", cache("other"))
    (mounting.layout.task_directory(claimed) / "go").touch()

    assert job.wait() == 0
    assert "[mounts] Marking in-use cache one for deferred purge" in other.log
    assert "[mounts] Deleting cache one file(s) at" in mounting.result(claimed).log


def test_since_is_the_last_time_less_five_minutes(mounting: Bench, web: Web) -> None:
    run(mounting, COUNT)
    run(mounting, COUNT)
    run(mounting, COUNT)

    asked = [request for request in web.requests if "/purge-cache/" in request]
    assert "since=" in asked[-1]
    since = datetime.fromisoformat(asked[-1].partition("since=")[2])
    assert timedelta(minutes=4) < datetime.now(UTC) - since < timedelta(minutes=6)


def test_a_service_that_is_down_costs_two_lines(mounting: Bench, web: Web) -> None:
    run(mounting, COUNT)
    web.page("/api/purge-cache/v1/purge-cache/proj-x%2Flinux", b"{}", 403)

    result = run(mounting, COUNT)

    assert result.output == ["2"]
    assert "[mounts] Could not reach purgecache service to see if caches need purging:" in result.log


@pytest.mark.parametrize(
    "answer",
    [
        b"[]",
        b'{"requests": [{}]}',
        b'{"requests": 5}',
        b"\xff",
        b'{"requests": [{"cacheName": "one", "before": "never"}]}',
    ],
)
def test_a_service_that_talks_nonsense_costs_two_lines(mounting: Bench, web: Web, answer: bytes) -> None:
    run(mounting, COUNT)
    web.page("/api/purge-cache/v1/purge-cache/proj-x%2Flinux", answer)

    result = run(mounting, COUNT)

    assert result.output == ["2"], result.log
    assert "Could not reach purgecache service" in result.log
