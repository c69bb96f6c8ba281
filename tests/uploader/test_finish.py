"""The last step: signed when that was asked for, the log closed, the run handed over; once, however often tried."""

import hashlib
from contextlib import closing

import pytest

from simulators.patience import until
from taskward.core.outbox import Entry
from taskward.core.outcome import COMPLETED, Outcome, decided_by_queue, exception, failed
from uploader.signing import NAMES, Signer
from uploader.site import BACKING, EXPIRES, LIVE, Site

CERTIFIED = "public/logs/certified.log"


def finish(site: Site) -> bool:
    with closing(site.service()) as service:
        return service.finish(site.run.task_id, site.run.run_id)


def upload_only(site: Site) -> None:
    with closing(site.service()) as service:
        service.upload(site.run.task_id, site.run.run_id, 0)


def test_a_run_is_signed_with_all_that_it_uploaded(site: Site) -> None:
    missing = Entry("public/no", "", 0, "", "identity", EXPIRES, "file-missing-on-worker", "gone", optional=True)
    with Signer(site.layout.signer_socket) as signer:
        site.left_by_the_executor(site.file("public/a", b"a", "gzip"), missing, certify=True)
        site.upload_all()
    assert signer.signed == [
        {"name": name, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content), "content_type": kind}
        for name, content, kind in (
            ("public/a", b"a", "text/plain"), (CERTIFIED, b"hello\n", "text/plain; charset=utf-8"),
        )
    ]  # fmt: skip
    assert 'id="first"' in signer.authorizations[0]
    for name, kind in NAMES.items():
        stored = site.cloud.stored[name]
        assert (stored.content, stored.headers["content-type"]) == (f"signed {name}".encode(), kind)
        assert stored.headers["content-encoding"] == "gzip"
        assert site.cloud.artifacts[name]["expires"] == EXPIRES
    assert site.outcome.succeeded


def test_a_failed_run_is_signed_too(site: Site) -> None:
    with Signer(site.layout.signer_socket):
        site.left_by_the_executor(certify=True, outcome=failed("exit code 1"))
        site.upload_all()
    assert set(NAMES) <= set(site.cloud.stored)


@pytest.mark.parametrize("outcome", [exception("worker-shutdown", "stopped"), decided_by_queue("canceled")])
def test_an_exception_is_not_signed(site: Site, outcome: Outcome) -> None:
    with Signer(site.layout.signer_socket) as signer:
        site.left_by_the_executor(certify=True, outcome=outcome)
        site.upload_all()
    assert signer.requests == []
    assert set(site.cloud.artifacts) == {BACKING, LIVE}


def test_a_canceled_run_is_not_signed(site: Site) -> None:
    with Signer(site.layout.signer_socket) as signer:
        site.left_by_the_executor(certify=True)
        site.records.abort(site.run, "canceled")
        site.upload_all()
    assert signer.requests == []


def test_a_run_that_completed_before_the_worker_stops_is_signed(site: Site) -> None:
    with Signer(site.layout.signer_socket) as signer:
        site.left_by_the_executor(certify=True)
        site.records.abort(site.run, "worker-shutdown")
        site.upload_all()
    assert len(signer.requests) == 1
    assert site.outcome.succeeded


def test_a_run_that_lost_an_artifact_is_not_signed(site: Site) -> None:
    site.cloud.faults["public/a"] = [413]
    with Signer(site.layout.signer_socket) as signer:
        site.left_by_the_executor(site.file("public/a", b"a"), certify=True)
        site.upload_all()
    assert signer.requests == []
    assert site.outcome.reason == "resource-unavailable"


def test_without_a_signer_the_run_waits_and_never_ends_unsigned(site: Site) -> None:
    site.left_by_the_executor(certify=True)
    assert not finish(site)
    assert site.record.phase == "finishing"
    assert BACKING not in site.cloud.artifacts
    with Signer(site.layout.signer_socket) as signer:
        signer.problems = [(503, "keyholder-away")]
        assert not finish(site)
        assert finish(site)
    assert set(NAMES) <= set(site.cloud.stored)
    assert site.cloud.puts[CERTIFIED] == 1
    assert site.outcome.succeeded


def test_a_waiting_run_does_not_keep_others_waiting(site: Site) -> None:
    site.left_by_the_executor(certify=True)
    process = site.process()
    until(lambda: CERTIFIED in site.cloud.stored)
    other = site.second_run()
    until(lambda: site.phase_of(other) == "uploaded")
    assert site.record.phase == "finishing"
    with Signer(site.layout.signer_socket):
        until(lambda: site.record.phase == "uploaded")
    assert process.terminate() == 0
    assert site.outcome.succeeded
    assert set(NAMES) <= set(site.cloud.stored)


def test_a_refusal_of_the_signer_is_an_internal_error_with_its_words(site: Site) -> None:
    with Signer(site.layout.signer_socket, [(403, "other-worker")]):
        site.left_by_the_executor(certify=True)
        site.upload_all()
    assert (site.outcome.state, site.outcome.reason) == ("exception", "internal-error")
    assert "[taskcluster:error] Chain of trust: the signer refused: other-worker: on demand" in site.uploaded_log()
    assert not set(NAMES) & set(site.cloud.artifacts)


def test_a_document_that_cannot_exist_is_told_in_the_log(site: Site) -> None:
    with Signer(site.layout.signer_socket) as signer:
        signer.omitted = [{"name": "public/chainOfTrust.json.asc", "reason": "a line is too long"}]
        site.left_by_the_executor(certify=True)
        site.upload_all()
    assert "no public/chainOfTrust.json.asc: a line is too long" in site.uploaded_log()
    assert site.outcome.succeeded


def test_a_document_that_cannot_be_uploaded_is_no_success(site: Site) -> None:
    site.cloud.faults["public/chain-of-trust.json"] = [413]
    with Signer(site.layout.signer_socket):
        site.left_by_the_executor(certify=True)
        site.upload_all()
    assert site.outcome.reason == "resource-unavailable"


def test_a_second_certification_asks_for_the_very_same(site: Site) -> None:
    """As after a kill between the documents and the log."""
    with Signer(site.layout.signer_socket) as signer:
        site.left_by_the_executor(site.file("public/a", b"a"), certify=True)
        site.cloud.put_pauses_s = {BACKING: 5.0}
        first = site.process()
        until(lambda: site.cloud.puts[BACKING])
        first.kill()
        site.notes.error("something that was not there when the log was frozen")
        assert finish(site)
        assert len(signer.requests) == 2
    assert site.cloud.puts["public/a"] == site.cloud.puts[CERTIFIED] == 1
    assert site.outcome.succeeded


def test_finish_twice_is_finish_once(site: Site) -> None:
    site.left_by_the_executor()
    assert finish(site)
    assert finish(site)
    assert site.cloud.puts == {BACKING: 1}
    assert site.cloud.creates == {BACKING: 1, LIVE: 1}
    assert len(site.inbox()) == 1


def test_a_batch_twice_is_a_batch_once(site: Site) -> None:
    site.left_by_the_executor(site.file("public/a", b"a"))
    upload_only(site)
    upload_only(site)
    assert site.cloud.puts == {"public/a": 1}
    assert site.record.phase == "finishing"


def test_nothing_happens_before_its_time(site: Site) -> None:
    site.left_by_the_executor(site.file("public/a", b"a"))
    assert finish(site)
    assert site.cloud.creates == {}
    assert site.record.phase == "uploading"


def test_a_lost_index_is_an_internal_error(site: Site) -> None:
    site.fanned_out(1)
    upload_only(site)
    assert finish(site)
    assert site.record.phase == "uploaded"
    assert site.outcome.reason == "internal-error"
    assert site.notes.read() == ["[taskcluster:error] the worker lost the list of artifacts: nothing was uploaded"]


def test_notes_are_told_once_when_a_batch_is_redone(site: Site) -> None:
    for _ in range(2):
        site.notes.error("one\ntwo")
    assert site.notes.read() == ["[taskcluster:error] one", "[taskcluster:error] two"]


def test_a_completed_run_stays_completed(site: Site) -> None:
    site.left_by_the_executor()
    site.upload_all()
    assert site.outcome == COMPLETED
