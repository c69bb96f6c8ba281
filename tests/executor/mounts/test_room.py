"""What is kept between tasks makes room for them."""

import os

from executor.bench import Bench
from executor.mounts.caching import COUNT, cache, kept, run, start
from executor.mounts.web import Web


def test_what_was_used_longest_ago_goes_first_and_downloads_before_caches(mounting: Bench, web: Web) -> None:
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


def test_nothing_goes_while_there_is_room(mounting: Bench) -> None:
    run(mounting, COUNT)

    assert run(mounting, COUNT).output == ["2"]


def test_a_cache_in_use_stays(mounting: Bench) -> None:
    claimed, job = start(mounting, COUNT)
    mounting.use(executor={"required_disk_space_bytes": 1 << 62})

    assert run(mounting, "true", cache("other")).outcome.reason == "resource-unavailable"

    assert len(kept(mounting)) == 1
    mounting.records.abort(claimed, "canceled")
    job.wait()


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
