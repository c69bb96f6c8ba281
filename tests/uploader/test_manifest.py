"""The manifest, written by many threads at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from redis.exceptions import ResponseError

from taskward.core import keys
from taskward.uploader.manifest import Sent
from uploader.site import Site

THREADS = 20


def writes(site: Site) -> int:
    found = site.redis.info("commandstats").get("cmdstat_hset", {"calls": 0})
    return int(found["calls"])


def test_records_of_many_threads_are_written_together(site: Site) -> None:
    manifest, before = site.manifest, writes(site)
    site.redis.client_pause(300, all=False)
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda n: manifest.record(f"public/{n}", Sent("s3", n)), range(THREADS)))
    assert {name: sent.entry for name, sent in manifest.read().items()} == {f"public/{n}": n for n in range(THREADS)}
    assert writes(site) - before < THREADS / 2


def test_a_record_that_could_not_be_written_is_written_with_the_next(site: Site) -> None:
    manifest = site.manifest
    site.redis.set(keys.manifest(site.run.key), "in the way")
    with pytest.raises(ResponseError):
        manifest.record("public/first", Sent("s3", 0))
    site.redis.delete(keys.manifest(site.run.key))
    manifest.record("public/second", Sent("s3", 1))
    assert set(manifest.read()) == {"public/first", "public/second"}
