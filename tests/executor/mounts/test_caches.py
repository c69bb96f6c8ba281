"""Writable caches: what one task leaves is what the next one finds, unless it cannot be trusted."""

import json
import time
from pathlib import Path

import pytest

from executor.bench import Bench
from executor.mounts.archives import Entry, tar
from executor.mounts.caching import COUNT, SCOPES, cache, kept, payload, run, start
from executor.mounts.web import Web


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


def test_two_tasks_at_once_get_two_instances(mounting: Bench, web: Web) -> None:
    mounting.use(worker={"capacity": 2}, taskcluster={"root_url": web.url})
    run(mounting, COUNT)
    claimed, job = start(mounting, COUNT)

    other = run(mounting, COUNT)

    assert mounting.result(claimed).output == ["2", "up"]
    assert other.output == ["1"]
    mounting.records.abort(claimed, "canceled")
    assert job.wait() == 0


@pytest.mark.root
def test_a_task_cannot_move_it_away(mounting: Bench) -> None:
    result = run(mounting, f"{COUNT}; mv c elsewhere; rmdir c; rm -rf c; umount c; ls -d c")

    assert "Device or resource busy" in result.log
    assert result.output[-1] == "c"
    assert len(kept(mounting)) == 1


@pytest.mark.root
def test_a_directory_above_it_may_move(mounting: Bench) -> None:
    run(mounting, "mv a b; echo x > b/c/f", cache(directory="a/c"))

    assert run(mounting, "cat a/c/f", cache(directory="a/c")).output == ["x"]


@pytest.mark.root
def test_a_task_cannot_leave_a_link_to_something_else(mounting: Bench) -> None:
    run(mounting, "ln -s /etc c/etc; ln /etc/hostname c/hard; true")

    result = run(mounting, "touch c/etc/x; ls c", cache(), {"directory": "d", "cacheName": "two"})

    assert "Permission denied" in result.log
    assert not Path("/etc/x").exists()


@pytest.mark.root
def test_programs_in_it_have_no_more_rights_than_the_task(mounting: Bench) -> None:
    result = run(mounting, "cp /usr/bin/id c/id; chmod 6755 c/id; findmnt -no OPTIONS c")

    assert {"nosuid", "nodev", "rw"} <= set(result.output[0].split(","))


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
