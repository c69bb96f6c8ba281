"""Nonces are used once, runs are bound once, buckets run dry."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskward.signer.answers import ConflictError
from taskward.signer.rate import RateLimit
from taskward.signer.store import NONCE_LIFE_S, Store

DAY_S = 24 * 3600


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "signer.sqlite", now_s=0)
    yield store
    store.close()


def test_a_nonce_is_used_once_as_long_as_its_request_could_be_fresh(store: Store) -> None:
    store.use_nonce("n", now_s=0)
    with pytest.raises(ConflictError):
        store.use_nonce("n", now_s=NONCE_LIFE_S)
    store.use_nonce("n", now_s=NONCE_LIFE_S + 1)


def test_a_run_is_bound_to_its_first_request(store: Store) -> None:
    store.reserve("task", 0, "digest", now_s=0)
    store.reserve("task", 0, "digest", now_s=1)
    store.reserve("task", 1, "other", now_s=1)
    with pytest.raises(ConflictError):
        store.reserve("task", 0, "other", now_s=1)


def test_the_first_answer_stays(store: Store) -> None:
    store.reserve("task", 0, "digest", now_s=0)
    assert store.complete("task", 0, b"first") == b"first"
    assert store.complete("task", 0, b"second") == b"first"


def test_old_answers_go_and_what_they_answered_stays_bound(tmp_path: Path) -> None:
    file = tmp_path / "signer.sqlite"
    store = Store(file, now_s=0)
    store.reserve("task", 0, "digest", now_s=0)
    store.complete("task", 0, b"answer")
    store.close()
    later = Store(file, now_s=31 * DAY_S)
    reservation = later.find("task", 0)
    assert reservation is not None
    assert (reservation.request_digest, reservation.answer) == ("digest", None)
    later.close()


def test_a_bucket_refills_with_time() -> None:
    now_s = 0.0
    limit = RateLimit(60, lambda: now_s)
    for _ in range(60):
        assert limit.take()
    assert not limit.take()
    now_s = 1.0
    assert limit.take()
    assert not limit.take()
