"""Writable caches: what one task leaves is what the next one finds, unless it cannot be trusted."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from executor.bench import Bench, Result, shell
from executor.mounts.archives import Entry, tar
from executor.mounts.web import Web
from taskward.core.clock import format_time
from taskward.core.ids import RunId

SCOPES = ["generic-worker:cache:*"]
COUNT = "echo x >> c/count; wc -l < c/count"


def cache(name: str = "one", directory: str = "c", **more: Any) -> dict[str, Any]:
    return {"cacheName": name, "directory": directory, **more}


def payload(script: str, *mounts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"command": shell(script), "maxRunTime": 20, "mounts": list(mounts) or [cache()], **more}


def run(bench: Bench, script: str, *mounts: dict[str, Any], **more: Any) -> Result:
    return bench.run_payload(payload(script, *mounts, **more), scopes=SCOPES)


def start(bench: Bench, script: str, *mounts: dict[str, Any]) -> tuple[RunId, Any]:
    """A task that has printed ``up`` and goes on."""
    claimed = bench.claim(payload(f"{script}; echo up; sleep 100", *mounts), scopes=SCOPES)
    job = bench.start(claimed)
    bench.wait_until(lambda: bench.has_log(claimed) and "up" in bench.result(claimed).output)
    return claimed, job


def kept(bench: Bench) -> list[Path]:
    return [path for path in (bench.state_dir / "caches").glob("*/item.json") if "trash" not in path.parent.name]


def test_a_cache_grows_from_task_to_task(mounting: Bench) -> None:
    assert [run(mounting, COUNT).output for _ in range(4)] == [["1"], ["2"], ["3"], ["4"]]

    [item] = kept(mounting)
    facts = json.loads(item.read_text())
    assert (facts["key"], facts["hits"]) == ("one", 3)


def test_the_log_says_what_happens_to_it(mounting: Bench) -> None:
    first, second = run(mounting, COUNT), run(mounting, COUNT)

    [content] = [item.parent / "content" for item in kept(mounting)]
    home = mounting.layout.task_directory(first.record.run)
    for line in (
        f"No existing writable directory cache 'one' - creating {content}",
        f"full control of directory '{home}/c'",
        f"Successfully mounted writable directory cache '{home}/c'",
        f'Preserving cache: Moving "{home}/c" to "{content}"',
    ):
        assert f"[mounts] {line}" in first.log or line in first.log
    assert f"[mounts] Moving existing writable directory cache one from {content} to " in second.log


def test_the_scope_of_each_cache_is_needed(mounting: Bench) -> None:
    result = mounting.run_payload(payload("true", cache("two")), scopes=["generic-worker:cache:one"])

    assert result.outcome.reason == "malformed-payload"
    assert 'Feature "Mounts/Caches" requires scopes:' in result.log
    assert "generic-worker:cache:two" in result.log


def test_caches_of_different_names_have_nothing_to_do_with_each_other(mounting: Bench) -> None:
    run(mounting, COUNT, cache("one"))

    assert run(mounting, COUNT, cache("two")).output == ["1"]
    both = run(mounting, "wc -l c/count d/count", cache("one"), cache("two", "d"))
    assert "2 total" in both.output[-1]


@pytest.mark.root
def test_whoever_has_it_owns_it_and_on_disk_it_belongs_to_nobody(mounting: Bench) -> None:
    run(mounting, "touch c/old; mkdir c/d; touch c/d/deep; chmod 600 c/old")

    result = run(mounting, "stat -c %U c c/old c/d/deep | sort -u; id -un; echo more >> c/old && cat c/old")

    assert result.output[0] == result.output[1]
    assert result.output[2] == "more"
    content = kept(mounting)[0].parent / "content"
    owners = {path.stat().st_uid for path in (content, *content.rglob("*"))}
    assert len(owners) == 1
    assert not owners & {0, int(mounting.result(result.record.run).record.run.run_id)}


@pytest.mark.root
def test_handing_over_does_not_touch_the_files(mounting: Bench) -> None:
    run(mounting, "touch c/f")
    content = kept(mounting)[0].parent / "content"
    before = (content / "f").stat().st_ctime_ns

    run(mounting, "cat c/f")

    assert (content / "f").stat().st_ctime_ns == before


def test_what_it_is_filled_with_is_for_a_new_one_only(mounting: Bench, web: Web) -> None:
    content = {"url": web.page("/a", tar([Entry("f", b"from the archive\n")]))}
    mount = cache(content=content, format="tar")

    assert run(mounting, "cat c/f; echo mine > c/f", mount).output == ["from the archive"]
    assert run(mounting, "cat c/f", mount).output == ["mine"]


def test_a_bad_archive_leaves_no_cache(mounting: Bench, web: Web) -> None:
    result = run(mounting, "true", cache(content={"url": web.page("/a", b"nothing")}, format="zip"))

    assert result.outcome.state == "failed"
    assert not kept(mounting)


def test_a_cache_needs_an_empty_place(mounting: Bench) -> None:
    result = run(mounting, "true", {"file": "c/f", "content": {"raw": "x"}}, cache())

    assert result.outcome.state == "failed"
    assert "since it is not empty" in result.log


def test_a_file_and_a_cache_cannot_have_one_place(mounting: Bench) -> None:
    for _ in range(2):
        result = run(mounting, "true", {"file": "c", "content": {"raw": "x"}}, cache())
        assert result.outcome.state == "failed"
        assert "[mounts] " in result.log


def test_a_failed_task_leaves_its_cache(mounting: Bench) -> None:
    assert run(mounting, f"{COUNT}; exit 3").outcome.state == "failed"

    assert run(mounting, COUNT).output == ["2"]


def test_a_later_mount_that_fails_does_not_cost_the_cache(mounting: Bench, web: Web) -> None:
    run(mounting, COUNT)
    bad = {"file": "f", "content": {"url": web.page("/f", b"x"), "sha256": "0" * 64}}

    assert run(mounting, "true", cache(), bad).outcome.state == "failed"

    assert run(mounting, COUNT).output == ["2"]


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


def test_two_tasks_at_once_get_two_instances(mounting: Bench) -> None:
    mounting.use(worker={"capacity": 2})
    run(mounting, COUNT)
    claimed, job = start(mounting, COUNT)

    other = run(mounting, COUNT)

    assert mounting.result(claimed).output == ["2", "up"]
    assert other.output == ["1"]
    mounting.records.abort(claimed, "canceled")
    assert job.wait() == 0


def test_no_more_instances_are_kept_than_tasks_can_run(mounting: Bench) -> None:
    claimed, job = start(mounting, COUNT)
    run(mounting, COUNT)
    mounting.records.abort(claimed, "worker-shutdown")
    job.wait()
    first, second = [start(mounting, COUNT) for _ in range(2)]
    for each, process in (first, second):
        mounting.records.abort(each, "canceled")
        process.wait()

    run(mounting, COUNT)

    assert len(kept(mounting)) == 1


class TestMoved:
    @pytest.mark.root
    def test_a_task_cannot_move_it_away(self, mounting: Bench) -> None:
        result = run(mounting, f"{COUNT}; mv c elsewhere; rmdir c; rm -rf c; umount c; ls -d c")

        assert "Device or resource busy" in result.log
        assert result.output[-1] == "c"
        assert len(kept(mounting)) == 1

    @pytest.mark.root
    def test_a_directory_above_it_may_move(self, mounting: Bench) -> None:
        run(mounting, "mv a b; echo x > b/c/f", cache(directory="a/c"))

        assert run(mounting, "cat a/c/f", cache(directory="a/c")).output == ["x"]

    @pytest.mark.root
    def test_a_task_cannot_leave_a_link_to_something_else(self, mounting: Bench) -> None:
        run(mounting, "ln -s /etc c/etc; ln /etc/hostname c/hard; true")

        result = run(mounting, "touch c/etc/x; ls c", cache(), {"directory": "d", "cacheName": "two"})

        assert "Permission denied" in result.log
        assert not Path("/etc/x").exists()

    @pytest.mark.root
    def test_programs_in_it_have_no_more_rights_than_the_task(self, mounting: Bench) -> None:
        result = run(mounting, "cp /usr/bin/id c/id; chmod 6755 c/id; findmnt -no OPTIONS c")

        assert {"nosuid", "nodev", "rw"} <= set(result.output[0].split(","))


class TestPurgeCache:
    def test_a_request_throws_away_what_is_older(self, mounting: Bench, web: Web) -> None:
        run(mounting, COUNT)
        web.purge("one", format_time(datetime.now(UTC) + timedelta(minutes=1)))

        result = run(mounting, COUNT)

        assert result.output == ["1"]
        assert "[mounts] Removing cache one from cache table (purge request)" in result.log

    def test_the_margin_is_five_minutes(self, mounting: Bench, web: Web) -> None:
        run(mounting, COUNT)
        web.purge("one", format_time(datetime.now(UTC) - timedelta(minutes=6)))

        assert run(mounting, COUNT).output == ["2"]

    def test_only_the_named_cache_goes(self, mounting: Bench, web: Web) -> None:
        run(mounting, COUNT)
        web.purge("another", format_time(datetime.now(UTC) + timedelta(minutes=1)))

        assert run(mounting, COUNT).output == ["2"]

    def test_what_is_in_use_goes_when_it_comes_back(self, mounting: Bench, web: Web) -> None:
        claimed = mounting.claim(payload(f"{COUNT}; echo up; while ! [ -e go ]; do sleep 0.05; done"), scopes=SCOPES)
        job = mounting.start(claimed)
        mounting.wait_until(lambda: mounting.has_log(claimed) and "up" in mounting.result(claimed).output)
        web.purge("one", format_time(datetime.now(UTC) + timedelta(minutes=1)))
        other = run(mounting, "true", cache("other"))
        (mounting.layout.task_directory(claimed) / "go").touch()

        assert job.wait() == 0
        assert "[mounts] Marking in-use cache one for deferred purge" in other.log
        assert "[mounts] Deleting cache one file(s) at" in mounting.result(claimed).log

    def test_since_is_the_last_time_less_five_minutes(self, mounting: Bench, web: Web) -> None:
        run(mounting, COUNT)
        run(mounting, COUNT)
        run(mounting, COUNT)

        asked = [request for request in web.requests if "/purge-cache/" in request]
        assert "since=" in asked[-1]
        since = datetime.fromisoformat(asked[-1].partition("since=")[2])
        assert timedelta(minutes=4) < datetime.now(UTC) - since < timedelta(minutes=6)

    def test_a_service_that_is_down_costs_two_lines(self, mounting: Bench, web: Web) -> None:
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
    def test_a_service_that_talks_nonsense_costs_two_lines(self, mounting: Bench, web: Web, answer: bytes) -> None:
        run(mounting, COUNT)
        web.page("/api/purge-cache/v1/purge-cache/proj-x%2Flinux", answer)

        result = run(mounting, COUNT)

        assert result.output == ["2"], result.log
        assert "Could not reach purgecache service" in result.log


class TestRoom:
    def test_what_was_used_longest_ago_goes_first_and_downloads_before_caches(self, mounting: Bench, web: Web) -> None:
        for number in range(3):
            run(mounting, COUNT, cache(f"c{number}"), {"file": "f", "content": {"url": web.page(f"/{number}", b"x")}})
        free = os.statvfs(mounting.state_dir)
        mounting.use(executor={"required_disk_space_bytes": free.f_bavail * free.f_frsize * 2})

        result = run(mounting, "true")

        assert result.outcome.reason == "resource-unavailable"
        assert "not able to free up enough disk space - require" in result.log
        assert result.log.count("and nothing left to delete") == 1
        assert not kept(mounting)
        assert not list((mounting.state_dir / "downloads").glob("*/content"))

    def test_nothing_goes_while_there_is_room(self, mounting: Bench) -> None:
        run(mounting, COUNT)

        assert run(mounting, COUNT).output == ["2"]

    def test_a_cache_in_use_stays(self, mounting: Bench) -> None:
        claimed, job = start(mounting, COUNT)
        mounting.use(executor={"required_disk_space_bytes": 1 << 62})

        assert run(mounting, "true", cache("other")).outcome.reason == "resource-unavailable"

        assert len(kept(mounting)) == 1
        mounting.records.abort(claimed, "canceled")
        job.wait()


def test_strange_things_on_the_shelves_are_cleared_away(mounting: Bench) -> None:
    run(mounting, COUNT)
    shelf = mounting.state_dir / "caches"
    (shelf / "nothing").mkdir()
    (shelf / "broken").mkdir()
    (shelf / "broken/item.json").write_text('{"key": ')
    (shelf / "future").mkdir()
    (shelf / "future/item.json").write_text('{"key": "one", "unknown": 1}')
    (shelf / "trash-1").mkdir()

    mounting.sweep()

    assert len([path for path in shelf.iterdir() if path.is_dir()]) == 1
    assert run(mounting, COUNT).output == ["2"]


@pytest.mark.parametrize("name", ["../../etc", "a/b", "x" * 5000, "\u2603", "-rf", "."])
def test_a_name_is_only_a_name(mounting: Bench, name: str) -> None:
    assert run(mounting, COUNT, cache(name)).output == ["1"]
    assert run(mounting, COUNT, cache(name)).output == ["2"]


@pytest.mark.root
def test_a_hit_takes_the_same_time_however_many_files_there_are(mounting: Bench) -> None:
    run(mounting, "cd c && seq 20000 | xargs touch")
    began = time.monotonic()

    run(mounting, "true")

    assert time.monotonic() - began < 2.0


def test_artifacts_can_be_taken_from_a_cache_which_keeps_them(mounting: Bench) -> None:
    artifact = {"type": "file", "path": "c/count", "name": "public/count"}
    result = run(mounting, COUNT, artifacts=[artifact])

    assert result.content("public/count") == b"x\n"
    assert run(mounting, COUNT).output == ["2"]


@pytest.mark.root
def test_a_task_with_the_workers_rights_can_use_it_and_the_next_without_them(mounting: Bench, web: Web) -> None:
    mounting.use(executor={"enable_run_task_as_current_user": True}, taskcluster={"root_url": web.url})
    mount, scopes = payload(COUNT), [*SCOPES, "generic-worker:run-task-as-current-user:*"]

    first = mounting.run_payload({**mount, "features": {"runTaskAsCurrentUser": True}}, scopes=scopes)

    assert first.output == ["1"], first.log
    assert run(mounting, COUNT).output == ["2"]


def test_a_worker_that_does_not_offer_mounts_says_so(mounting: Bench) -> None:
    mounting.configure("executor", enable_mounts=False)

    result = run(mounting, COUNT)

    assert result.outcome.reason == "malformed-payload"
    assert "requires feature Mounts/Caches, which is not enabled on this worker pool" in result.log
