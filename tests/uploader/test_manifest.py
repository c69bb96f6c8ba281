"""The manifest, written while the next files are on their way."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from redis.exceptions import ResponseError

from simulators.patience import until
from taskward.core import keys
from uploader.site import Site

FILES = 40


def writes(site: Site) -> int:
    found = site.redis.info("commandstats").get("cmdstat_hset", {"calls": 0})
    return int(found["calls"])


def test_files_are_recorded_together_while_redis_is_slow(site: Site) -> None:
    site.left_by_the_executor(*(site.file(f"public/{n}", b"x") for n in range(FILES)))
    before = writes(site)
    with closing(site.service()) as service, ThreadPoolExecutor(1) as other:
        site.redis.client_pause(60_000, all=False)
        upload = other.submit(service.upload, site.run.task_id, site.run.run_id, 0)
        until(lambda: len(site.cloud.stored) >= service.settings.concurrency + 5)
        site.redis.client_unpause()
        upload.result(10)
    assert set(site.manifest.read()) == {f"public/{n}" for n in range(FILES)}
    assert writes(site) - before < FILES


def test_uploads_do_not_run_away_from_a_redis_that_does_not_answer(site: Site) -> None:
    site.left_by_the_executor(*(site.file(f"public/{n}", b"x") for n in range(FILES)))
    unrecorded = [0]

    def recorded() -> bool:
        stored = len(site.cloud.stored)  # before it is known that nothing was recorded yet
        if site.manifest.read():
            return True
        unrecorded.append(stored)
        return False

    with closing(site.service()) as service, ThreadPoolExecutor(1) as other:
        site.redis.client_pause(1000, all=False)
        upload = other.submit(service.upload, site.run.task_id, site.run.run_id, 0)
        until(recorded, pause_s=0.001)
        # one and ten that are about to be written, ten that wait, ten whose threads wait for a place
        assert max(unrecorded) <= 3 * service.settings.concurrency + 1
        upload.result(10)
    assert len(site.manifest.read()) == FILES


def test_an_error_of_redis_comes_when_all_transfers_have_ended(site: Site) -> None:
    site.left_by_the_executor(*(site.file(f"public/{n}", b"x") for n in range(FILES)))
    with closing(site.service()) as service, ThreadPoolExecutor(1) as other:
        site.cloud.create_pause_s = 0.05
        upload = other.submit(service.upload, site.run.task_id, site.run.run_id, 0)
        until(lambda: site.cloud.creates)
        site.redis.set(keys.manifest(site.run.key), "in the way")
        with pytest.raises(ResponseError):
            upload.result(10)
    assert (len(site.cloud.stored), site.cloud.under_way) == (FILES, 0)
    assert site.record.phase == "uploading"
