"""An artifact that is published while its run goes on."""

from contextlib import closing

from taskward.core.jobs import Job
from taskward.core.outbox import write_early
from uploader.site import UNTIL, Site, credentials

NAME = "login-identity/someone/rdpInfo.json"


def publish(site: Site) -> None:
    with closing(site.service()) as worker:
        worker.publish(site.run.task_id, site.run.run_id)


def test_an_early_artifact_is_there_before_the_run_ends_and_is_sent_once(site: Site) -> None:
    entry = site.file(NAME, b"{}", "gzip", "application/json")
    write_early(site.outbox, entry)
    site.records.claim(site.run, {}, UNTIL, "group", "worker", credentials("first"))

    publish(site)

    assert site.cloud.stored[NAME].content == b"{}"
    assert site.record.phase == "claimed"
    site.left_by_the_executor(entry)
    site.upload_all()
    assert site.cloud.order.count(f"put {NAME}") == 1
    assert site.outcome.succeeded


def test_an_uploader_is_asked_once_for_an_early_artifact(site: Site) -> None:
    site.records.claim(site.run, {}, UNTIL, "group", "worker", credentials("first"))

    site.records.publish(site.run)
    site.records.publish(site.run)

    assert site.redis.lrange("rq:queue:upload", 0, -1) == [Job.publish(site.run).id.encode()]


def test_nothing_is_published_early_for_a_run_that_is_over_or_has_nothing(site: Site) -> None:
    publish(site)
    site.records.claim(site.run, {}, UNTIL, "group", "worker", credentials("first"))
    publish(site)
    write_early(site.outbox, site.file(NAME, b"{}"))
    site.records.resolved(site.run)
    publish(site)

    assert site.cloud.artifacts == {}


def test_an_early_artifact_whose_claim_is_lost_is_left(site: Site) -> None:
    write_early(site.outbox, site.file(NAME, b"{}"))
    site.records.claim(site.run, {}, UNTIL, "group", "worker", credentials("first"))
    site.records.abort(site.run, "claim-expired")

    publish(site)

    assert site.cloud.artifacts == {}
