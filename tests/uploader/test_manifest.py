"""The manifest, written while the next files are on their way."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from redis.exceptions import ResponseError

from simulators.patience import until
from taskward.core import keys
from taskward.core.redis_server import ARTIFACT_BYTES
from taskward.uploader.manifest import Sent
from taskward.uploader.notes import MOST_LINES
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
    assert set(site.recorded()) == {f"public/{n}" for n in range(FILES)}
    assert writes(site) - before < FILES


def test_uploads_do_not_run_away_from_a_redis_that_does_not_answer(site: Site) -> None:
    site.left_by_the_executor(*(site.file(f"public/{n}", b"x") for n in range(FILES)))
    unrecorded = [0]

    def recorded() -> bool:
        stored = len(site.cloud.stored)  # before it is known that nothing was recorded yet
        if site.recorded():
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
    assert len(site.recorded()) == FILES


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


def test_a_hundred_thousand_artifacts_have_room_in_redis(site: Site) -> None:
    """What `redis_server.configuration` counts on, here for a tenth of them, with the longest names and a hash."""
    count = 10_000
    sent = [(f"public/{n:01017d}", Sent("object", n, "f" * 64, 10**12)) for n in range(count)]
    for first in range(0, count, 1000):
        site.manifest.record_all(sent[first : first + 1000])
    assert (site.redis.memory_usage(keys.manifest(site.run.key), samples=0) or 0) / count < ARTIFACT_BYTES
    assert len(site.manifest.done((n, name) for n, (name, _) in enumerate(sent))) == count


def test_what_is_recorded_is_read_again(site: Site) -> None:
    sent = {
        "public/\udcff": Sent("none", 3), "a b": Sent("s3", 4, "0" * 64, 5), "c": Sent("error", 5), "d": Sent("link"),
    }  # fmt: skip
    site.manifest.record_all(sent.items())
    assert site.manifest.done((each.entry, name) for name, each in sent.items()) == sent


def test_an_artifact_at_another_place_is_another(site: Site) -> None:
    site.manifest.record("public/a", Sent("s3", 0))
    assert site.manifest.done([(1, "public/a"), (-1, "public/a"), (0, "public/b")]) == {}


def test_a_run_that_loses_very_many_artifacts_has_a_log_of_bounded_length(site: Site) -> None:
    for number in range(MOST_LINES // 10 + 2):
        site.notes.error("\n".join(f"lost {number}.{line} {'x' * 5000}" for line in range(10)))
    lines = site.notes.read()
    assert len(lines) == MOST_LINES + 1
    assert max(map(len, lines)) < 2100
    assert lines[-1].endswith("and more; the worker's own log has them all")
