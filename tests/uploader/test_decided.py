"""A run that the queue has resolved while its artifacts were on their way: only its log is of interest."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from simulators.patience import until
from taskward.core.settings import UploaderSettings
from taskward.uploader.claim import Claim
from taskward.uploader.errors import ClaimLost
from uploader.cloud import Faults
from uploader.site import BACKING, LIVE, Site

LARGE_BYTES = 4 << 30
decided = pytest.mark.parametrize("abort", ["canceled", "deadline-exceeded"])
over = pytest.mark.parametrize("abort", ["canceled", "deadline-exceeded", "claim-expired"])


@contextmanager
def aborted_when(site: Site, abort: str, seen: Callable[[], object]) -> Iterator[None]:
    """The queue decides in the midst of an upload, which then takes hardly any more time."""
    with ThreadPoolExecutor(1) as pool:
        uploaded = pool.submit(site.upload_all)
        until(seen)
        site.records.abort(site.run, abort)
        uploaded.result(3)
    yield


@decided
def test_of_a_run_that_was_decided_before_only_the_log_is_sent(site: Site, abort: str) -> None:
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.records.abort(site.run, abort)
    site.upload_all()
    assert set(site.cloud.artifacts) == {BACKING, LIVE}
    assert site.uploaded_log() == f"hello\n[taskcluster:error] the queue resolved the run: {abort}\n"
    assert site.outcome.succeeded
    assert site.record.phase == "uploaded"


@over
def test_nothing_more_is_begun_once_the_queue_has_decided(site: Site, abort: str) -> None:
    site.cloud.put_pause_s = 0.2
    site.left_by_the_executor(*(site.file(f"public/{n}", b"x") for n in range(300)))
    with aborted_when(site, abort, lambda: site.cloud.puts):
        assert len(site.cloud.artifacts) < 100
    assert site.record.phase == "uploaded"
    assert (BACKING in site.cloud.stored) == (abort != "claim-expired")


def test_a_large_file_in_the_midst_of_its_transfer_is_dropped(site: Site) -> None:
    large = site.file("public/large", b"")
    os.truncate(site.outbox / large.file, LARGE_BYTES)
    site.left_by_the_executor(replace(large, size_bytes=LARGE_BYTES))
    with aborted_when(site, "canceled", lambda: site.cloud.under_way):
        assert "public/large" not in site.cloud.stored
    assert site.outcome.succeeded


def test_a_large_file_in_the_midst_of_its_compression_is_dropped(site: Site) -> None:
    large = site.file("public/large", b"", "gzip")
    os.truncate(site.outbox / large.file, LARGE_BYTES)
    site.left_by_the_executor(replace(large, size_bytes=LARGE_BYTES))
    with aborted_when(site, "canceled", lambda: site.record.phase == "uploading"):
        assert "public/large" not in site.cloud.artifacts
    assert site.outcome.succeeded


@over
def test_nobody_waits_for_a_service_on_behalf_of_a_run_that_is_over(site: Site, abort: str) -> None:
    site.settings = UploaderSettings(give_up_after_s=600)
    site.cloud.create_faults["public/a"] = Faults([503] * 100, lambda: site.records.abort(site.run, abort))
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.cloud.creates["public/a"] < 5
    assert site.outcome.succeeded


def test_a_long_wait_between_attempts_ends_with_the_claim(site: Site) -> None:
    site.left_by_the_executor()
    claim = Claim(site.redis, site.run, until_decided=True)
    claim.credentials()
    site.records.abort(site.run, "canceled")
    began = time.monotonic()
    with pytest.raises(ClaimLost, match="canceled"):
        claim.wait(60)
    assert time.monotonic() - began < 2


def test_redis_is_asked_twice_a_second_however_many_files_there_are(site: Site) -> None:
    site.cloud.put_pause_s = 0.01
    site.left_by_the_executor(*(site.file(f"public/{n}", b"x") for n in range(100)))
    site.redis.config_resetstat()
    site.upload_all()
    looks = site.redis.info("commandstats")["cmdstat_get"]["calls"]
    assert looks < 10
