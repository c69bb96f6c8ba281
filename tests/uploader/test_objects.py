"""Artifacts in the object service: createArtifact happens once, everything after it as often as needed."""

import hashlib

import pytest

from taskward.core.settings import UploaderSettings
from taskward.uploader.manifest import Manifest
from uploader.cloud import Faults
from uploader.site import BACKING, EXPIRES, LIVE, Site


@pytest.fixture
def objects(site: Site) -> Site:
    site.settings = UploaderSettings(storage="object", give_up_after_s=1.0)
    return site


@pytest.mark.parametrize("size", [0, 10, 8191, 8192, 3_000_000])
def test_content_is_sent_as_it_is_and_finished(objects: Site, size: int) -> None:
    content = b"x" * size
    objects.left_by_the_executor(objects.file("public/a", content, "gzip"))
    objects.upload_all()
    stored = objects.cloud.stored["public/a"]
    assert stored.body == content
    assert "content-encoding" not in stored.headers
    assert objects.cloud.objects["t/public/a"]["hashes"] == {
        "sha256": hashlib.sha256(content).hexdigest(), "sha512": hashlib.sha512(content).hexdigest(),
    }  # fmt: skip
    assert "finish public/a" in objects.cloud.order
    assert objects.sent("public/a").storage == "object"


def test_a_backend_that_takes_nothing_inline_gets_small_content_by_its_url(objects: Site) -> None:
    objects.cloud.no_inline = True
    objects.left_by_the_executor(objects.file("public/a", b"small"))
    objects.upload_all()
    assert objects.outcome.succeeded
    assert objects.cloud.stored["public/a"].body == b"small"


def test_logs_go_there_too(objects: Site) -> None:
    objects.left_by_the_executor()
    objects.upload_all()
    assert objects.uploaded_log() == "hello\n"
    assert objects.cloud.artifacts[LIVE]["storageType"] == "link"
    assert f"finish {BACKING}" in objects.cloud.order


def test_a_failed_put_is_repeated_without_a_second_create(objects: Site) -> None:
    objects.cloud.faults["public/a"] = [503, 403, "cut"]
    objects.left_by_the_executor(objects.file("public/a", b"x" * 10_000))
    objects.upload_all()
    assert objects.cloud.creates["public/a"] == 1
    assert objects.outcome.succeeded


def test_another_uploader_goes_on_where_the_first_one_died(objects: Site) -> None:
    objects.left_by_the_executor(objects.file("public/a", b"x" * 10_000))
    entry = {"storageType": "object", "contentType": "text/plain", "expires": EXPIRES}
    _, answer = objects.cloud.create("public/a", entry)
    Manifest(objects.redis, objects.run).begin((0, "public/a"), answer)
    assert objects.recorded() == {}
    objects.upload_all()
    assert objects.cloud.creates["public/a"] == 0
    assert objects.outcome.succeeded


def test_another_uploader_does_not_insist_on_an_answer_that_was_lost_with_the_first(objects: Site) -> None:
    objects.settings = UploaderSettings(storage="object", give_up_after_s=60)
    objects.left_by_the_executor(objects.file("public/a", b"a"), objects.file("public/b", b"b"))
    entry = {"storageType": "object", "contentType": "text/plain", "expires": EXPIRES}
    objects.manifest.asking((0, "public/a"))
    objects.cloud.create("public/a", entry)
    objects.manifest.asking((1, "public/b"))
    objects.upload_all()
    assert objects.cloud.creates["public/a"] == 2
    assert objects.outcome.reason == "resource-unavailable"
    assert objects.cloud.stored["public/b"].body == b"b"


def test_an_answer_that_another_process_is_just_keeping_is_used(objects: Site) -> None:
    objects.left_by_the_executor(objects.file("public/a", b"a"))
    entry = {"storageType": "object", "contentType": "text/plain", "expires": EXPIRES}
    _, answer = objects.cloud.create("public/a", entry)
    objects.manifest.asking((0, "public/a"))
    objects.cloud.create_faults["public/a"] = Faults([500], lambda: objects.manifest.begin((0, "public/a"), answer))
    objects.upload_all()
    assert objects.cloud.creates["public/a"] == 1
    assert objects.outcome.succeeded


@pytest.mark.parametrize("faults", [["lost-answer"], ["lost-answer", 503], [500, "lost-answer"], [503, "lost-504"]])
def test_a_lost_answer_costs_the_artifact_at_once_and_says_so(objects: Site, faults: list[int | str]) -> None:
    objects.settings = UploaderSettings(storage="object", give_up_after_s=60)
    objects.cloud.create_faults["public/a"] = list(faults)
    objects.left_by_the_executor(objects.file("public/a", b"a"), objects.file("public/b", b"b"))
    objects.upload_all()
    assert objects.cloud.creates["public/a"] == len(faults) + 1
    assert (objects.outcome.state, objects.outcome.reason) == ("exception", "resource-unavailable")
    assert "the queue's answer to createArtifact was lost" in objects.uploaded_log()
    assert objects.cloud.stored["public/b"].body == b"b"


@pytest.mark.parametrize("faults", [[500], [500, 500], [503, 500], [504], [429, 500]])
def test_a_create_that_failed_without_a_lost_answer_is_repeated(objects: Site, faults: list[int | str]) -> None:
    objects.settings = UploaderSettings(storage="object", give_up_after_s=60)
    objects.cloud.create_faults["public/a"] = list(faults)
    objects.left_by_the_executor(objects.file("public/a", b"a"))
    objects.upload_all()
    assert objects.cloud.creates["public/a"] == len(faults) + 1
    assert objects.outcome.succeeded


@pytest.mark.parametrize("fault", [404, "redirect"])
def test_a_url_that_leads_nowhere_is_replaced_once(objects: Site, fault: int | str) -> None:
    objects.cloud.faults["public/a"] = [fault]
    objects.cloud.faults["public/b"] = [fault, fault]
    objects.left_by_the_executor(*(objects.file(f"public/{name}", b"x" * 10_000) for name in "ab"))
    objects.upload_all()
    assert "finish public/a" in objects.cloud.order
    assert "public/b" not in objects.cloud.stored
    assert objects.cloud.creates["public/b"] == 1
    assert objects.outcome.reason == "resource-unavailable"


@pytest.mark.parametrize("answer", [{}, {"uploadMethod": {}}, {"uploadMethod": {"putUrl": {}}}, {"uploadMethod": 1}])
def test_an_answer_in_an_unknown_form_costs_the_artifact_only(objects: Site, answer: dict[str, object]) -> None:
    objects.cloud.object_answer = answer
    objects.left_by_the_executor(objects.file("public/a", b"x" * 10_000), live="", backing="")
    objects.upload_all()
    assert objects.outcome.reason == "resource-unavailable"
    assert "the object service" in objects.outcome.message
