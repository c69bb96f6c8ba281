"""Everything that an uploader says to queue and object service."""

import pytest

from conformance.front import Front
from taskward.core.outbox import Entry, ErrorReason
from taskward.core.settings import UploaderSettings
from uploader.site import EXPIRES, LIVE, Site

_REASONS: list[ErrorReason] = [
    "file-missing-on-worker", "invalid-resource-on-worker", "file-not-readable-on-worker", "too-large-file-on-worker",
]  # fmt: skip


@pytest.mark.parametrize(("storage", "calls"), [("s3", set()), ("object", {"createUpload", "finishUpload"})])
def test_files_logs_links_and_errors(site: Site, front: Front, storage: str, calls: set[str]) -> None:
    site.settings = UploaderSettings(storage=storage, give_up_after_s=5)
    site.left_by_the_executor(
        site.file("public/small", b"small", "gzip", "text/plain; charset=utf-8"),
        site.file("private/empty", b"", content_type="x" * 255),
        site.file("public/ ~!name", b"x" * 20_000),
        *(
            Entry(f"public/{reason}", "", 0, "", "identity", EXPIRES, reason, "m" * 5000, optional=True)
            for reason in _REASONS
        ),
    )
    site.upload_all()
    assert site.outcome.succeeded, site.notes.read()
    assert front.observer.names >= {"createArtifact"} | calls
    listed = front.queue.listArtifacts(site.run.task_id, 0)["artifacts"]
    kinds = {one["storageType"] for one in listed}
    assert kinds == {storage, "link", "error"}
    assert next(one for one in listed if one["name"] == LIVE)["storageType"] == "link"


@pytest.mark.parametrize(
    ("storage", "call"),
    [("s3", "createArtifact"), ("object", "createUpload"), ("object", "finishUpload"), ("object", "finishArtifact")],
)
def test_a_lost_answer_costs_no_artifact(site: Site, front: Front, storage: str, call: str) -> None:
    site.settings = UploaderSettings(storage=storage, give_up_after_s=5)
    site.left_by_the_executor(site.file("public/a", b"x" * 20_000), live="", backing="")
    front.observer.to_lose.add(call)
    site.upload_all()
    assert site.outcome.succeeded, site.notes.read()
    assert site.sent("public/a").size_bytes == 20_000
