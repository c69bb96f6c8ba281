"""The run record moves only as it may, whoever asks and however often."""

from datetime import UTC, datetime

import pytest
from redis import Redis

from taskward.core import keys
from taskward.core.errors import PhaseConflict
from taskward.core.ids import RunId
from taskward.core.jobs import EXECUTE, UPLOAD
from taskward.core.outcome import COMPLETED, exception, failed
from taskward.core.record import Records

RUN = RunId("dSlITZ4yQgmvxxAi4A8fHQ", 0)
UNTIL = datetime(2030, 1, 1, tzinfo=UTC)


def claim(records: Records, run: RunId = RUN) -> bool:
    return records.claim(run, {"scopes": ["a"]}, UNTIL, "group", "worker", '{"clientId": "c", "accessToken": "t"}')


def collecting(records: Records, owner: str = "me") -> None:
    claim(records)
    records.move(RUN, ("claimed",), "preparing", owner)
    records.move(RUN, ("preparing",), "running", owner)
    records.move(RUN, ("running",), "collecting", owner)


def test_a_claim_is_recorded_and_queued_once(records: Records, redis: Redis) -> None:
    assert claim(records)
    assert not claim(records)
    assert redis.lrange(EXECUTE.key, 0, -1) == [f"x-{RUN.directory}".encode()]
    record = records.read(RUN)
    assert record is not None
    assert (record.phase, record.definition, record.taken_until) == ("claimed", {"scopes": ["a"]}, UNTIL)
    assert records.active() == {RUN}


def test_a_run_moves_only_from_the_phase_it_is_in(records: Records) -> None:
    claim(records)
    with pytest.raises(PhaseConflict, match="phase claimed"):
        records.move(RUN, ("preparing",), "running", "me")


def test_only_the_owner_moves_a_run_on(records: Records) -> None:
    claim(records)
    records.move(RUN, ("claimed",), "preparing", "first")
    with pytest.raises(PhaseConflict, match="owner first"):
        records.move(RUN, ("preparing",), "running", "second")


def test_whoever_names_the_dead_owner_takes_over(records: Records) -> None:
    claim(records)
    records.move(RUN, ("claimed",), "preparing", "dead")
    records.move(RUN, ("preparing",), "collecting", "heir", replace="dead")
    record = records.read(RUN)
    assert record is not None
    assert record.owner == "heir"


def test_two_heirs_cannot_both_take_over(records: Records) -> None:
    claim(records)
    records.move(RUN, ("claimed",), "preparing", "dead")
    records.move(RUN, ("preparing",), "collecting", "heir", replace="dead")
    with pytest.raises(PhaseConflict):
        records.move(RUN, ("preparing",), "collecting", "late", replace="dead")


def test_fan_out_queues_every_batch_in_one_step(records: Records, redis: Redis) -> None:
    collecting(records)
    records.fan_out(RUN, "me", 3, COMPLETED)
    assert redis.llen(UPLOAD.key) == 3
    assert all(records.batch_is_pending(RUN, n) for n in range(3))
    with pytest.raises(PhaseConflict, match="phase uploading"):
        records.fan_out(RUN, "me", 3, COMPLETED)


def test_the_last_batch_queues_the_finish_job_once(records: Records, redis: Redis) -> None:
    collecting(records)
    records.fan_out(RUN, "me", 2, COMPLETED)
    for batch in (0, 0, 1, 1):
        records.batch_done(RUN, batch)
    assert redis.lrange(UPLOAD.key, 2, -1) == [f"u-{RUN.directory}-end".encode()]
    record = records.read(RUN)
    assert record is not None
    assert record.phase == "finishing"


def test_a_run_without_artifacts_goes_straight_to_its_finish(records: Records, redis: Redis) -> None:
    collecting(records)
    records.fan_out(RUN, "me", 0, COMPLETED)
    assert redis.lrange(UPLOAD.key, 0, -1) == [f"u-{RUN.directory}-end".encode()]


def test_an_uploaded_run_is_handed_to_the_claimer_once(records: Records, redis: Redis) -> None:
    collecting(records)
    records.fan_out(RUN, "me", 0, COMPLETED)
    assert records.uploaded(RUN)
    assert not records.uploaded(RUN)
    assert redis.lrange(keys.INBOX, 0, -1) == [RUN.key.encode()]


def test_a_resolved_run_leaves_no_credentials_behind(records: Records, redis: Redis) -> None:
    collecting(records)
    records.fan_out(RUN, "me", 0, COMPLETED)
    records.resolved(RUN)
    assert records.active() == frozenset()
    assert records.stored_credentials(RUN) == ""
    assert redis.ttl(keys.run(RUN.key)) > 0


def test_the_first_error_decides_the_outcome(records: Records) -> None:
    collecting(records)
    records.fan_out(RUN, "me", 0, COMPLETED)
    records.worsen(RUN, failed("first"))
    records.worsen(RUN, exception("internal-error", "second"))
    record = records.read(RUN)
    assert record is not None
    assert record.outcome == failed("first")


def test_the_first_abort_reason_stands(records: Records) -> None:
    claim(records)
    assert records.abort_reason(RUN) == ""
    records.abort(RUN, "canceled")
    records.abort(RUN, "worker-shutdown")
    assert records.abort_reason(RUN) == "canceled"


def test_new_credentials_are_stored_and_announced(records: Records, redis: Redis) -> None:
    claim(records)
    listener = redis.pubsub()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
    listener.subscribe(keys.CREDENTIALS_CHANNEL)
    assert listener.get_message(timeout=5) is not None
    records.renew(RUN, UNTIL, '{"new": 1}')
    message = listener.get_message(timeout=5)
    assert message is not None
    assert message["data"] == RUN.key.encode()
    assert records.stored_credentials(RUN) == '{"new": 1}'
    listener.close()
