"""A run with many files beside others: they take turns."""

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from simulators.patience import until
from taskward.core.ids import RunId
from taskward.core.settings import UploaderSettings
from taskward.uploader.service import Service
from taskward.uploader.turn import Turns
from uploader.site import Site

COUNT = 60


@pytest.fixture
def hasty(site: Site) -> Iterator[Service]:
    """A process whose turns are over at once."""
    with closing(site.service()) as service:
        service.turns = Turns(service.redis, 0.0)
        yield service


def left_with_many_files(site: Site, batches: int = 1) -> None:
    numbers = range(COUNT)
    site.left_by_the_executor(
        *(site.file(f"public/{n}", b"x") for n in numbers),
        batches=[list(numbers[first::batches]) for first in range(batches)],
    )


def upload(service: Service, run: RunId, batch: int = 0) -> bool:
    return service.upload(run.task_id, run.run_id, batch)


def test_a_batch_gives_way_to_another_run_and_goes_on_where_it_was(site: Site, hasty: Service) -> None:
    site.cloud.put_pause_s = 0.01
    left_with_many_files(site)
    other = site.second_run()

    assert not upload(hasty, site.run)
    assert len(site.recorded()) < COUNT
    assert site.record.phase == "uploading"
    assert hasty.finish(other.task_id, other.run_id)
    site.redis.delete("rq:queue:upload")
    assert upload(hasty, site.run)

    assert site.record.phase == "finishing"
    assert all(count == 1 for count in site.cloud.puts.values())
    assert {f"public/{n}" for n in range(COUNT)} <= set(site.cloud.stored)


def test_a_batch_with_nobody_behind_it_is_done_at_once(site: Site, hasty: Service) -> None:
    left_with_many_files(site, batches=2)
    assert upload(hasty, site.run, 0)
    assert upload(hasty, site.run, 1)


def test_the_other_batches_of_a_run_that_has_had_its_turn_give_way_at_once(site: Site, hasty: Service) -> None:
    left_with_many_files(site, batches=2)
    site.second_run()
    upload(hasty, site.run, 0)
    sent = len(site.recorded())
    assert not upload(hasty, site.run, 1)
    assert len(site.recorded()) == sent


def test_each_turn_gets_something_done(site: Site, hasty: Service) -> None:
    left_with_many_files(site)
    other = site.second_run()
    turns = 0
    while not upload(hasty, site.run):
        turns += 1
        assert hasty.turns.next(other)
    assert turns < COUNT


def test_storage_that_was_given_up_in_one_turn_is_not_waited_for_as_long_in_the_next(site: Site) -> None:
    site.settings = UploaderSettings(concurrency=2, give_up_after_s=0.5)
    for n in range(20):
        site.cloud.faults[f"public/{n}"] = [503] * 100
    site.left_by_the_executor(*(site.file(f"public/{n}", b"x") for n in range(20)))
    other = site.second_run()
    began = time.monotonic()
    with closing(site.service()) as service:
        service.turns = Turns(service.redis, 0.0)
        while not upload(service, site.run):
            service.turns.next(other)
    assert time.monotonic() - began < 4
    assert site.outcome.reason == "resource-unavailable"


def test_a_small_run_is_done_long_before_a_large_one_that_came_first(site: Site) -> None:
    site.cloud.put_pause_s = 0.1
    site.left_by_the_executor(
        *(site.file(f"public/{n}", b"x") for n in range(1000)), batches=[range(0, 500), range(500, 1000)]
    )
    process = site.process()
    until(lambda: site.cloud.puts)
    other = site.second_run()

    until(lambda: site.phase_of(other) == "uploaded", within_s=8)
    assert site.record.phase == "uploading"
    site.cloud.put_pause_s = 0.0
    until(lambda: site.record.phase == "uploaded", within_s=20)

    process.terminate()
    assert site.outcome.succeeded
    assert all(site.cloud.puts[f"public/{n}"] == 1 for n in range(1000))
    assert not site.redis.keys("rq:job:u-*")
