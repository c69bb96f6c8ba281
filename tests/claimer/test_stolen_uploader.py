"""Whoever has the uploader's password can spoil runs; the claimer reports no success of theirs, and goes on."""

from typing import Any

import pytest

from claimer.conftest import Rig, Watch
from claimer.test_inbox import WITHIN_S, serving
from taskward.claimer.keep import Keeper
from taskward.claimer.reaper import Reaper
from taskward.core import keys
from taskward.core.jobs import EXECUTE, UPLOAD, Job
from taskward.core.outcome import COMPLETED, exception, failed
from taskward.core.settings import ClaimerSettings

FORGED: dict[Any, Any] = {"phase": "uploaded", "outcome": COMPLETED.to_json()}


def test_a_run_that_goes_on_is_not_completed(rig: Rig) -> None:
    run, thief = rig.claimed(), rig.server.client("uploader")
    rig.everyone.move(run, ("claimed",), "running", "executor")
    thief.hset(keys.upload(run.key), mapping=FORGED)
    assert not rig.resolver.attend(run)
    assert rig.status(run)["state"] == "running"


def test_a_run_that_failed_stays_failed(rig: Rig) -> None:
    run, thief = rig.claimed(), rig.server.client("uploader")
    rig.everyone.move(run, ("claimed",), "collecting", "executor")
    rig.everyone.fan_out(run, "executor", 1, failed("exit 1"))
    thief.hset(keys.upload(run.key), mapping=FORGED)
    assert rig.resolver.attend(run)
    assert rig.status(run)["state"] == "failed"


def test_a_success_can_be_spoilt(rig: Rig) -> None:
    run, thief = rig.claimed(), rig.server.client("uploader")
    rig.uploaded(run, COMPLETED)
    thief.hset(keys.upload(run.key), "outcome", exception("resource-unavailable", "no room").to_json())
    assert rig.resolver.attend(run)
    assert rig.status(run)["reasonResolved"] == "resource-unavailable"


def test_no_run_is_ended_as_a_success(rig: Rig) -> None:
    run = rig.claimed()
    with pytest.raises(ValueError, match="has not succeeded"):
        rig.records.end(run, ("claimed",), COMPLETED)


def test_a_run_whose_uploads_were_taken_back_is_no_success_in_the_next_life(rig: Rig) -> None:
    run, thief = rig.claimed(), rig.server.client("uploader")
    rig.uploaded(run, COMPLETED)
    rig.records.move(run, ("uploading",), "resolving", "1-1")
    thief.delete(keys.upload(run.key))
    assert rig.resolver.attend(run)
    assert rig.status(run)["reasonResolved"] == "internal-error"


def test_an_inbox_that_names_no_run_is_read_on(rig: Rig) -> None:
    run, thief = rig.claimed(), rig.server.client("uploader")
    with serving(rig, rig.resolver) as freed:
        thief.rpush(keys.INBOX, b"\xff", "", "a/b/c", "x" * 100_000)
        rig.uploaded(run, COMPLETED)
        assert freed.wait(WITHIN_S)


def test_an_inbox_that_is_no_list_is_emptied(rig: Rig) -> None:
    run, thief = rig.claimed(), rig.server.client("uploader")
    thief.set(keys.INBOX, "x")
    with serving(rig, rig.resolver) as freed:
        while rig.redis.exists(keys.INBOX):
            continue
        rig.uploaded(run, COMPLETED)
        assert freed.wait(WITHIN_S)


def test_the_claim_is_kept_whatever_the_uploads_say(rig: Rig, watch: Watch) -> None:
    run, thief = rig.claimed(), rig.server.client("uploader")
    thief.set(keys.upload(run.key), "x")
    keeper = Keeper(rig.taskcluster, rig.credentials, rig.records, ClaimerSettings(), watch)
    first = rig.records.stored_credentials(run)
    keeper.look()
    keeper.elapsed_s = lambda: 1e9
    keeper.look()
    assert rig.records.stored_credentials(run) != first


def test_a_spoilt_queue_does_not_keep_the_executors_waiting(rig: Rig) -> None:
    run, thief = rig.claimed(), rig.server.client("uploader")
    thief.set("rq:wip:upload", "x")
    rig.server.client("admin").zadd("rq:failed:execute", {Job.execute(run).id: 1})
    Reaper(rig.redis, {queue: rig.layout.locks(queue.name) for queue in (UPLOAD, EXECUTE)}).sweep()
    assert rig.resolver.attend(run)
    assert rig.status(run)["reasonResolved"] == "internal-error"


def test_a_run_that_another_version_had_claimed_frees_its_slot(rig: Rig) -> None:
    run = rig.claimed()
    admin = rig.server.client("admin")
    admin.delete(keys.task(run.key))
    admin.hset(keys.run(run.key), "definition", "{}")
    with serving(rig, rig.resolver):
        while rig.records.active():
            continue
    assert rig.records.stored_credentials(run) == ""
    assert rig.status(run)["state"] == "running"
