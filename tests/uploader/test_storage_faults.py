"""Storage misbehaves: what is tried again, what is not, and how the run ends."""

import time

import pytest

from taskward.core.outcome import failed
from taskward.core.settings import UploaderSettings
from uploader.site import BACKING, Site


@pytest.mark.parametrize("fault", [500, 502, 503, 400, 408, 429, "cut", "early", "lost-answer", "slow"])
def test_a_passing_fault_is_outlived(site: Site, fault: int | str) -> None:
    content = bytes(range(256)) * 8192
    site.cloud.faults["public/a"] = [fault]
    site.left_by_the_executor(site.file("public/a", content))
    site.upload_all()
    assert site.cloud.stored["public/a"].body == content
    assert site.outcome.succeeded


@pytest.mark.parametrize("fault", [500, "lost-answer"])
def test_a_passing_fault_of_the_queue_is_outlived(site: Site, fault: int | str) -> None:
    site.cloud.create_faults["public/a"] = [fault, fault]
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.cloud.stored["public/a"].body == b"a"
    assert site.outcome.succeeded


def test_an_expired_url_is_replaced_by_a_new_one(site: Site) -> None:
    site.cloud.faults["public/a"] = [403, 403]
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.cloud.creates["public/a"] == 3
    assert site.outcome.succeeded


def test_a_url_whose_signer_has_expired_is_replaced_by_a_new_one(site: Site) -> None:
    site.cloud.faults["public/a"] = ["ExpiredToken"]
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.cloud.creates["public/a"] == 2
    assert site.outcome.succeeded


def test_what_is_too_large_for_storage_is_not_sent_again(site: Site) -> None:
    site.cloud.faults["public/a"] = ["EntityTooLarge"]
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.cloud.puts["public/a"] == 1
    assert "EntityTooLarge" in site.uploaded_log()


@pytest.mark.parametrize("fault", [404, "redirect", 403])
def test_a_url_that_leads_nowhere_is_replaced_by_a_new_one(site: Site, fault: int | str) -> None:
    site.cloud.faults["public/a"] = [fault]
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.cloud.creates["public/a"] == 2
    assert site.cloud.stored["public/a"].body == b"a"
    assert site.outcome.succeeded


@pytest.mark.parametrize("fault", [404, "redirect"])
def test_a_second_url_that_leads_nowhere_is_the_last(site: Site, fault: int | str) -> None:
    site.settings = UploaderSettings(give_up_after_s=60)
    site.cloud.faults["public/a"] = [fault, 503, fault, fault, fault]
    site.left_by_the_executor(site.file("public/a", b"a"), site.file("public/b", b"b"))
    site.upload_all()
    assert (site.cloud.creates["public/a"], site.cloud.puts["public/a"]) == (2, 3)
    assert (site.outcome.state, site.outcome.reason) == ("exception", "resource-unavailable")
    assert site.cloud.stored["public/b"].body == b"b"


def test_urls_that_are_never_accepted_are_not_asked_for_without_end(site: Site) -> None:
    site.cloud.faults["public/a"] = [403] * 100
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.cloud.creates["public/a"] < 10
    assert site.outcome.reason == "resource-unavailable"


@pytest.mark.parametrize("status", [405, 411, 413])
def test_a_refusal_of_storage_is_final(site: Site, status: int) -> None:
    site.cloud.faults["public/a"] = [status]
    site.left_by_the_executor(site.file("public/a", b"a"), site.file("public/b", b"b"))
    site.upload_all()
    assert site.cloud.puts["public/a"] == 1
    assert (site.outcome.state, site.outcome.reason) == ("exception", "resource-unavailable")
    assert site.cloud.stored["public/b"].body == b"b"
    assert "[taskcluster:error] Error uploading artifact: public/a: PUT to http://" in site.uploaded_log()
    assert "X-Amz" not in site.uploaded_log()


def test_a_redirect_is_never_followed(site: Site) -> None:
    site.cloud.faults["public/a"] = ["redirect"] * 2
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert "public/a" not in site.cloud.stored
    assert "redirect" in site.uploaded_log()


def test_storage_that_stays_away_makes_the_resources_unavailable(site: Site) -> None:
    site.cloud.faults["public/a"] = [503] * 100
    site.left_by_the_executor(site.file("public/a", b"a"))
    site.upload_all()
    assert site.outcome.reason == "resource-unavailable"
    assert site.sent("public/a").storage == "none"


def test_when_storage_is_away_many_files_give_up_together(site: Site) -> None:
    site.settings = UploaderSettings(concurrency=2, give_up_after_s=1.0)
    names = [f"public/{n}" for n in range(40)]
    for name in names:
        site.cloud.faults[name] = [503] * 100
    site.left_by_the_executor(*(site.file(name, b"x") for name in names))
    began = time.monotonic()
    site.upload_all()
    assert time.monotonic() - began < 8


def test_an_optional_artifact_never_fails_the_run(site: Site) -> None:
    site.cloud.faults["public/a"] = [413]
    site.left_by_the_executor(site.file("public/a", b"a", optional=True))
    site.upload_all()
    assert site.outcome.succeeded
    assert site.uploaded_log() == "hello\n"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://h/x",
        "http:///x",
        "http://u:p@127.0.0.1/x",
        "http://h/a b",
        "http://h/\r\nX: y",
        "/x",
    ],
)
def test_only_plain_http_urls_are_put_to(site: Site, url: str) -> None:
    site.cloud.put_url = url
    site.left_by_the_executor(site.file("public/a", b"a"), backing="", live="")
    site.upload_all()
    assert site.outcome.reason == "resource-unavailable"


def test_a_few_connections_serve_many_files(site: Site) -> None:
    site.settings = UploaderSettings(concurrency=4)
    site.left_by_the_executor(*(site.file(f"public/{n}", b"x") for n in range(100)))
    site.upload_all()
    assert site.cloud.connections <= 12


def test_no_more_than_the_allowed_number_at_once(site: Site) -> None:
    site.settings = UploaderSettings(concurrency=3)
    site.cloud.put_pause_s = 0.02
    site.left_by_the_executor(*(site.file(f"public/{n}", b"x") for n in range(20)))
    site.upload_all()
    assert site.cloud.most_under_way == 3


def test_the_wanted_length_is_announced_and_nothing_is_chunked(site: Site) -> None:
    site.left_by_the_executor(site.file("public/a", b"x" * 3_000_000), site.file("public/empty", b""))
    site.upload_all()
    headers = site.cloud.stored["public/a"].headers
    assert headers["content-length"] == "3000000"
    assert "transfer-encoding" not in headers
    assert site.cloud.stored["public/empty"].length == 0
    assert site.outcome.succeeded


def test_a_log_that_cannot_be_sent_is_no_success(site: Site) -> None:
    site.cloud.faults[BACKING] = [413]
    site.left_by_the_executor()
    site.upload_all()
    assert site.outcome.reason == "resource-unavailable"
    assert site.record.phase == "uploaded"


def test_a_bad_end_before_stays_the_end(site: Site) -> None:
    site.cloud.faults["public/a"] = [413]
    site.left_by_the_executor(site.file("public/a", b"a"), outcome=failed("exit code 1"))
    site.upload_all()
    assert site.outcome == failed("exit code 1")
    assert site.sent("public/a").storage == "none"
