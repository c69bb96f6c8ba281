"""A run's artifacts and its log reach the queue, and the run goes on to the claimer."""

import hashlib
from contextlib import closing

import pytest

from taskward.core.outbox import Entry
from taskward.core.outcome import failed
from uploader.site import BACKING, EXPIRES, LIVE, Site


def test_a_run_with_artifacts_is_uploaded_and_handed_over(site: Site) -> None:
    text, picture = b"text " * 1000, bytes(range(256)) * 5000
    site.left_by_the_executor(
        site.file("public/a.txt", text, "gzip"), site.file("public/b.png", picture, content_type="image/png")
    )
    site.upload_all()
    assert site.record.phase == "uploaded"
    assert site.outcome.succeeded
    assert site.inbox() == [site.run.key.encode()]
    a, b = site.cloud.stored["public/a.txt"], site.cloud.stored["public/b.png"]
    assert (a.content, a.headers["content-encoding"], a.headers["content-type"]) == (text, "gzip", "text/plain")
    assert (b.content, b.headers["content-encoding"], b.headers["content-type"]) == (picture, "identity", "image/png")
    assert site.sent("public/a.txt").size_bytes == site.cloud.artifacts["public/a.txt"]["contentLength"] == len(text)


@pytest.mark.parametrize("certify", [False, True])
def test_content_is_hashed_for_the_signer_only(site: Site, certify: bool) -> None:
    text, picture = b"text " * 1000, bytes(range(256)) * 5000
    site.left_by_the_executor(site.file("public/a", text, "gzip"), site.file("public/b", picture), certify=certify)
    with closing(site.service()) as worker:
        worker.upload(site.run.task_id, site.run.run_id, 0)
    hashed = [site.sent(name).sha256 for name in ("public/a", "public/b")]
    assert hashed == [hashlib.sha256(content).hexdigest() if certify else "" for content in (text, picture)]


def test_the_log_is_the_last_upload_and_the_live_log_links_to_it(site: Site) -> None:
    site.cloud.artifacts[LIVE] = {"storageType": "reference", "contentType": "text/plain", "expires": EXPIRES}
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.cloud.order[-2:] == [f"put {BACKING}", f"create {LIVE} link"]
    assert site.uploaded_log() == "hello\n"
    assert site.cloud.stored[BACKING].headers["content-type"] == "text/plain; charset=utf-8"
    assert site.cloud.artifacts[LIVE]["artifact"] == BACKING


def test_a_run_without_artifacts_needs_only_its_log(site: Site) -> None:
    site.left_by_the_executor()
    site.upload_all()
    assert set(site.cloud.artifacts) == {BACKING, LIVE}


def test_no_log_is_sent_when_none_is_wanted(site: Site) -> None:
    site.left_by_the_executor(live="", backing="")
    site.upload_all()
    assert site.cloud.artifacts == {}
    assert site.record.phase == "uploaded"


@pytest.mark.parametrize("backing", [BACKING, ""])
def test_the_bulk_log_is_the_backing_log_once_more(site: Site, backing: str) -> None:
    name = "public/logs/terminal_bulk.log.gz"
    site.left_by_the_executor(live="", backing=backing, bulk=name)
    site.upload_all()
    assert {each: stored.content for each, stored in site.cloud.stored.items()} == {
        each: b"hello\n" for each in (backing, name) if each
    }
    assert site.cloud.stored[name].headers["content-encoding"] == "gzip"


def test_an_error_artifact_fails_the_run_and_is_told_in_the_log(site: Site) -> None:
    reason, message = "file-missing-on-worker", "Could not read file '/task/x'"
    site.left_by_the_executor(
        Entry("public/x", "", 0, "", "identity", EXPIRES, reason=reason, message=message),
        site.file("public/y", b"y"),
    )
    site.upload_all()
    assert site.cloud.artifacts["public/x"] == {
        "storageType": "error", "reason": reason, "message": message, "expires": EXPIRES,
    }  # fmt: skip
    assert site.cloud.stored["public/y"].content == b"y"
    assert site.outcome.state == "failed"
    assert (
        site.uploaded_log() == f"hello\n[taskcluster:error] TASK FAILURE during artifact upload: {reason}: {message}\n"
    )


def test_an_error_artifact_that_the_executor_told_of_is_not_told_again(site: Site) -> None:
    reason, message = "file-missing-on-worker", "Could not read file '/task/x'"
    site.left_by_the_executor(
        Entry("public/x", "", 0, "", "identity", EXPIRES, reason=reason, message=message),
        outcome=failed(f"{reason}: {message}"),
    )
    site.upload_all()
    assert site.cloud.artifacts["public/x"]["reason"] == reason
    assert site.uploaded_log() == "hello\n"
