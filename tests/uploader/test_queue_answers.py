"""What the queue says to createArtifact decides how the run ends."""

import time

import pytest

from taskward.core.outbox import Entry
from taskward.core.outcome import decided_by_queue, failed
from taskward.core.settings import UploaderSettings
from uploader.cloud import Faults
from uploader.site import BACKING, EXPIRES, LIVE, Site


def test_the_same_name_with_another_type_is_a_malformed_payload(site: Site) -> None:
    site.left_by_the_executor(site.file("public/a", b"a"), site.file("public/a", b"a", content_type="image/png"))
    site.upload_all()
    assert (site.outcome.state, site.outcome.reason) == ("exception", "malformed-payload")
    assert "409" in site.uploaded_log()


def test_the_same_file_twice_under_one_name_is_fine(site: Site) -> None:
    site.left_by_the_executor(site.file("public/a", b"a"), site.file("public/a", b"a"))
    site.upload_all()
    assert site.outcome.succeeded


@pytest.mark.parametrize("status", [400, 404, 413])
def test_any_other_refusal_fails_the_run_with_its_words(site: Site, status: int) -> None:
    site.cloud.create_faults["public/a"] = [status]
    site.left_by_the_executor(site.file("public/a", b"a"), site.file("public/b", b"b"))
    site.upload_all()
    assert (site.outcome.state, site.outcome.reason) == ("failed", "failed")
    assert f"{status} Fault" in site.uploaded_log()
    assert "public/b" in site.cloud.stored


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_are_refused_once_are_no_harm(site: Site, status: int) -> None:
    site.cloud.create_faults["public/a"] = [status]
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.cloud.stored["public/a"].body == b"a"
    assert site.outcome.succeeded


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_are_always_refused_are_not_the_tasks_fault(site: Site, status: int) -> None:
    site.cloud.create_faults["public/a"] = [status] * 100
    site.left_by_the_executor(site.file("public/a", b"a"), site.file("public/b", b"b"))
    site.upload_all()
    assert (site.outcome.state, site.outcome.reason) == ("exception", "resource-unavailable")
    assert 1 < site.cloud.creates["public/a"] < 10
    assert "is this host's clock right?" in site.uploaded_log()
    assert f"{status} Fault" in site.uploaded_log()
    assert "public/b" in site.cloud.stored


def test_refused_credentials_are_looked_up_anew_at_once(site: Site) -> None:
    site.cloud.create_faults["public/a"] = Faults([401], lambda: site.renew("second"))
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.cloud.client_ids[:2] == ["first", "second"]
    assert site.outcome.succeeded


@pytest.mark.parametrize("abort", ["canceled", "deadline-exceeded"])
def test_refused_credentials_of_a_run_that_the_queue_has_decided_are_no_news(site: Site, abort: str) -> None:
    site.settings = UploaderSettings(give_up_after_s=60)
    site.cloud.create_faults["public/a"] = Faults([403] * 100, lambda: site.records.abort(site.run, abort))
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.cloud.creates["public/a"] == 1
    assert site.outcome.succeeded
    assert site.notes.read() == [f"[taskcluster:error] the queue resolved the run: {abort}"]


def test_attempts_with_refused_credentials_end_when_the_claim_is_lost(site: Site) -> None:
    site.settings = UploaderSettings(give_up_after_s=60)
    site.cloud.create_faults["public/a"] = Faults([401] * 100, lambda: site.records.abort(site.run, "claim-expired"))
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.cloud.creates["public/a"] == 1
    assert site.outcome.succeeded


def test_many_files_with_refused_credentials_give_up_together(site: Site) -> None:
    site.settings = UploaderSettings(concurrency=2, give_up_after_s=1.0)
    names = [f"public/{n}" for n in range(20)]
    for name in names:
        site.cloud.create_faults[name] = [401] * 100
    site.left_by_the_executor(*(site.file(name, b"x") for name in names))
    began = time.monotonic()
    site.upload_all()
    assert time.monotonic() - began < 8


def test_a_queue_that_knows_no_content_length_yet_is_told_none(site: Site) -> None:
    site.cloud.unknown = {"contentLength"}
    site.left_by_the_executor(site.file("public/a", b"a"), site.file("public/b", b"b"))
    site.upload_all()
    assert site.outcome.succeeded
    assert {"public/a", "public/b"} <= set(site.cloud.stored)
    assert site.cloud.creates.total() <= len(site.cloud.artifacts) + 2  # asked in vain once a step, not once a file


def test_a_queue_that_does_not_know_a_reason_yet_gets_the_nearest(site: Site) -> None:
    site.cloud.unknown = {"file-not-readable-on-worker"}
    reason, why = "file-not-readable-on-worker", "cannot be read"
    site.left_by_the_executor(Entry("public/a", "", 0, "text/plain", "gzip", EXPIRES, reason, why))
    site.upload_all()
    assert site.cloud.artifacts["public/a"]["reason"] == "invalid-resource-on-worker"


def test_what_no_database_can_store_is_left_out_of_a_message(site: Site) -> None:
    reason, why = "file-not-readable-on-worker", "no \udcff file\0 é"
    site.left_by_the_executor(Entry("public/a", "", 0, "text/plain", "gzip", EXPIRES, reason, why))
    site.upload_all()
    assert site.cloud.artifacts["public/a"]["message"] == "no ? file? é"


def test_a_queue_that_stays_away_makes_the_resources_unavailable(site: Site) -> None:
    site.cloud.create_faults["public/a"] = [503] * 100
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.outcome.reason == "resource-unavailable"


@pytest.mark.parametrize("abort", ["canceled", "deadline-exceeded"])
def test_refusals_after_the_queue_has_decided_are_no_news(site: Site, abort: str) -> None:
    site.cloud.resolved = True
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.records.abort(site.run, abort)
    site.upload_all()
    assert site.outcome.succeeded
    assert site.notes.read() == [f"[taskcluster:error] the queue resolved the run: {abort}"]
    assert site.record.phase == "uploaded"


def test_what_the_executor_knew_already_is_not_told_twice(site: Site) -> None:
    site.left_by_the_executor(site.file("public/a", b"a"), outcome=decided_by_queue("canceled"))
    site.records.abort(site.run, "canceled")
    site.upload_all()
    assert site.notes.read() == []


def test_nothing_is_uploaded_for_a_claim_that_is_lost(site: Site) -> None:
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.records.abort(site.run, "claim-expired")
    site.upload_all()
    assert site.cloud.creates == {}
    assert site.record.phase == "uploaded"


def test_repeats_end_when_the_claim_is_lost(site: Site) -> None:
    site.settings = UploaderSettings(give_up_after_s=60)
    site.cloud.create_faults["public/a"] = Faults([503] * 100, lambda: site.records.abort(site.run, "claim-expired"))
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.cloud.creates["public/a"] < 5
    assert site.outcome.succeeded


def test_a_resolved_run_is_left_alone(site: Site) -> None:
    site.left_by_the_executor(site.file("public/a", b"a"))
    service = site.service()
    site.records.resolved(site.run)
    service.upload(site.run.task_id, site.run.run_id, 0)
    assert service.finish(site.run.task_id, site.run.run_id)
    service.close()
    assert site.cloud.creates == {}


def test_credentials_are_the_newest_at_each_attempt(site: Site) -> None:
    site.cloud.create_faults["public/a"] = Faults([503, 503], lambda: site.renew("second"))
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.cloud.client_ids[0] == "first"
    assert site.cloud.client_ids[-1] == "second"
    assert site.outcome.succeeded


@pytest.mark.parametrize("name", ["", "x" * 1025, "public/ü", "public/\n", "a\x00b", ".", "..", "public/\x7f"])
def test_names_that_would_hurt_the_queue_are_never_sent(site: Site, name: str) -> None:
    site.left_by_the_executor(
        site.file(name, b"a"), Entry(name, "", 0, "", "identity", EXPIRES, "file-missing-on-worker")
    )
    site.upload_all()
    assert set(site.cloud.artifacts) == {BACKING, LIVE}
    assert site.outcome.state == "failed"
    assert "artifact name" in site.uploaded_log()


@pytest.mark.parametrize(
    "name", ["../x", "a//b", "100%", "a b", "a?b#c", "%2e%2e/x", "/abs", "x" * 1024, "public/~'\"\\"]
)
def test_odd_names_arrive_as_they_are(site: Site, name: str) -> None:
    site.left_by_the_executor(site.file(name, b"a"))
    site.upload_all()
    assert site.cloud.stored[name].body == b"a"
    assert site.outcome.succeeded


@pytest.mark.parametrize("content_type", ["text/plain\r\nX-Evil: 1", "", "x" * 256, "text/ü"])
def test_a_content_type_cannot_smuggle_headers(site: Site, content_type: str) -> None:
    site.left_by_the_executor(site.file("public/a", b"a", content_type=content_type))
    site.upload_all()
    assert "public/a" not in site.cloud.artifacts
    assert site.outcome.state == "failed"


def test_a_long_message_is_cut_to_what_the_queue_takes(site: Site) -> None:
    entry = Entry("public/x", "", 0, "", "identity", EXPIRES, "file-missing-on-worker", "m" * 5000)
    site.left_by_the_executor(entry)
    site.upload_all()
    assert len(site.cloud.artifacts["public/x"]["message"]) == 4096


def test_an_optional_error_artifact_does_not_fail_the_run(site: Site) -> None:
    site.left_by_the_executor(
        Entry("public/x", "", 0, "", "identity", EXPIRES, "file-missing-on-worker", "gone", optional=True)
    )
    site.upload_all()
    assert site.cloud.artifacts["public/x"]["storageType"] == "error"
    assert site.outcome.succeeded


def test_an_error_that_the_run_has_died_of_already_is_not_told_twice(site: Site) -> None:
    entry = Entry("public/x", "", 0, "", "identity", EXPIRES, "file-missing-on-worker", "gone")
    site.left_by_the_executor(entry, outcome=failed("file-missing-on-worker"))
    site.upload_all()
    assert site.uploaded_log() == "hello\n"


def test_a_live_log_that_cannot_be_linked_is_no_reason_to_fail(site: Site) -> None:
    site.cloud.artifacts[LIVE] = {"storageType": "s3", "contentType": "text/plain", "expires": EXPIRES}
    site.left_by_the_executor()
    site.upload_all()
    assert site.outcome.succeeded
    assert site.uploaded_log() == "hello\n"
