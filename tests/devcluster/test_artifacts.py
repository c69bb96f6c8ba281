"""Artifacts of every type of storage, with the plain client."""

from datetime import timedelta
from typing import Any

import pytest
import requests
import taskcluster
from taskcluster.exceptions import TaskclusterRestFailure

from simulators.devcluster import WORKER, DevCluster, ManualClock, task_definition
from taskward.devcluster.claims import Worker
from taskward.devcluster.cluster import Cluster
from taskward.devcluster.definition import Definition
from taskward.devcluster.errors import RequestConflict
from taskward.devcluster.identifiers import new_slug

EXPIRES = taskcluster.fromNowJSON("1 day")
LATER = taskcluster.fromNowJSON("2 days")
S3 = {"storageType": "s3", "contentType": "text/plain", "expires": EXPIRES}
OBJECT = {"storageType": "object", "contentType": "text/plain", "expires": EXPIRES}
REFERENCE = {
    "storageType": "reference", "contentType": "text/plain", "expires": EXPIRES, "url": "https://example.com/x",
}  # fmt: skip
LINK = {"storageType": "link", "contentType": "text/plain", "expires": EXPIRES, "artifact": "public/target"}
ERROR = {
    "storageType": "error", "expires": EXPIRES, "reason": "file-missing-on-worker", "message": "no such file",
}  # fmt: skip


@pytest.fixture
def task_id(claim: dict[str, Any]) -> str:
    return str(claim["status"]["taskId"])


def upload(task_queue: Any, task_id: str, name: str, data: bytes, **headers: str) -> None:
    url = task_queue.createArtifact(task_id, 0, name, S3)["putUrl"]
    sent = requests.put(url, data=data, headers={"Content-Type": "text/plain", **headers}, timeout=10)
    assert sent.status_code == 200, sent.text


def refused(client: Any, task_id: str, name: str, body: dict[str, Any]) -> tuple[int, str]:
    with pytest.raises(TaskclusterRestFailure) as error:
        client.createArtifact(task_id, 0, name, body)
    return error.value.status_code, error.value.body["code"]


@pytest.mark.parametrize("name", ["public/a b+c~.txt", "private/secret.txt", "public/~!*'();:@&=$,?#[]"])
def test_uploaded_file_comes_back(queue: Any, task_queue: Any, task_id: str, name: str) -> None:
    upload(task_queue, task_id, name, b"hello")
    url = queue.buildSignedUrl("getArtifact", task_id, 0, name)
    answer = requests.get(url, timeout=10)
    assert (answer.status_code, answer.content) == (200, b"hello")
    first = answer.history[0]
    assert first.status_code == 303
    assert first.headers["x-taskcluster-artifact-storage-type"] == "s3"
    assert ("X-Amz-Signature" in first.headers["Location"]) == name.startswith("private/")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_type_and_encoding_are_what_the_upload_said(queue: Any, task_queue: Any, task_id: str) -> None:
    upload(task_queue, task_id, "public/x", b"\x1f\x8b raw", **{"Content-Type": "a/b", "Content-Encoding": "gzip"})
    url = queue.buildUrl("getLatestArtifact", task_id, "public/x")
    with requests.get(url, stream=True, timeout=10) as answer:
        assert (answer.headers["Content-Type"], answer.headers["Content-Encoding"]) == ("a/b", "gzip")
        assert answer.raw.read(decode_content=False) == b"\x1f\x8b raw"


def test_artifact_is_listed_before_its_upload_and_leads_nowhere(queue: Any, task_queue: Any, task_id: str) -> None:
    task_queue.createArtifact(task_id, 0, "public/x", S3)
    assert [each["name"] for each in queue.listArtifacts(task_id, 0)["artifacts"]] == ["public/x"]
    answer = requests.get(queue.buildUrl("getArtifact", task_id, 0, "public/x"), timeout=10)
    assert [step.status_code for step in (*answer.history, answer)] == [303, 404]


def test_same_call_twice_gives_a_fresh_url(task_queue: Any, task_id: str) -> None:
    task_queue.createArtifact(task_id, 0, "public/x", S3)
    again = task_queue.createArtifact(task_id, 0, "public/x", {**S3, "expires": LATER})
    assert set(again) == {"storageType", "contentType", "expires", "putUrl"}
    assert "X-Amz-Expires=2710" in again["putUrl"]
    assert "X-Amz-SignedHeaders=host&" in again["putUrl"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (S3, {**S3, "contentType": "a/b"}),
        ({**S3, "expires": LATER}, S3),
        (S3, OBJECT),
        (S3, LINK),
        (LINK, REFERENCE),
        (LINK, {**LINK, "artifact": "public/other"}),
        (ERROR, {**ERROR, "message": "other"}),
        (REFERENCE, S3),
    ],
    ids=["type", "expiry", "object", "link", "reference", "target", "message", "upload"],
)
def test_artifact_cannot_be_changed(
    task_queue: Any, task_id: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    task_queue.createArtifact(task_id, 0, "public/x", first)
    assert refused(task_queue, task_id, "public/x", second) == (409, "RequestConflict")


def test_reference_may_move_and_become_a_link(queue: Any, task_queue: Any, task_id: str) -> None:
    upload(task_queue, task_id, "public/target", b"backing")
    task_queue.createArtifact(task_id, 0, "public/x", REFERENCE)
    task_queue.createArtifact(task_id, 0, "public/x", {**REFERENCE, "url": "https://example.com/y"})
    assert queue.artifact(task_id, 0, "public/x")["url"] == "https://example.com/y"
    task_queue.createArtifact(task_id, 0, "public/x", LINK)
    answer = requests.get(queue.buildUrl("getArtifact", task_id, 0, "public/x"), timeout=10)
    assert answer.content == b"backing"
    assert queue.artifactInfo(task_id, 0, "public/x")["storageType"] == "link"


def test_circle_of_links_is_refused(queue: Any, task_queue: Any, task_id: str) -> None:
    task_queue.createArtifact(task_id, 0, "public/a", {**LINK, "artifact": "public/b"})
    task_queue.createArtifact(task_id, 0, "public/b", {**LINK, "artifact": "public/a"})
    with pytest.raises(TaskclusterRestFailure) as error:
        queue.artifact(task_id, 0, "public/a")
    assert error.value.status_code == 400


def test_link_does_not_lead_around_missing_scopes(server: DevCluster, task_queue: Any, task_id: str) -> None:
    upload(task_queue, task_id, "private/secret", b"secret")
    task_queue.createArtifact(task_id, 0, "public/a", {**LINK, "artifact": "private/secret"})
    nobody = server.client(taskcluster.Queue, {})
    for call in (nobody.artifact, nobody.getArtifact):
        with pytest.raises(TaskclusterRestFailure) as error:
            call(task_id, 0, "public/a")
        assert error.value.status_code == 403
    reader = server.client(taskcluster.Queue, authorizedScopes=["queue:get-artifact:private/secret"])
    assert reader.artifact(task_id, 0, "public/a")["storageType"] == "s3"


def test_private_artifact_needs_a_scope(server: DevCluster, task_queue: Any, task_id: str) -> None:
    upload(task_queue, task_id, "private/x", b"secret")
    answer = requests.get(server.client(taskcluster.Queue).buildUrl("getArtifact", task_id, 0, "private/x"), timeout=10)
    assert answer.status_code == 403
    unsigned = f"{server.root_url}/s3/private-artifacts/{task_id}/0/private/x"
    assert requests.get(unsigned, timeout=10).status_code == 403


def test_error_artifact_tells_why(queue: Any, task_queue: Any, task_id: str) -> None:
    assert task_queue.createArtifact(task_id, 0, "public/x", ERROR) == {"storageType": "error"}
    answer = requests.get(queue.buildUrl("getArtifact", task_id, 0, "public/x"), timeout=10)
    assert answer.status_code == 424
    assert answer.json() == {"reason": "file-missing-on-worker", "message": "no such file"}
    assert queue.latestArtifact(task_id, "public/x")["storageType"] == "error"


@pytest.mark.parametrize(
    "body",
    [
        {**S3, "storageType": "azure"},
        {**S3, "contentType": "x" * 256},
        {**S3, "contentLength": "1"},
        {**S3, "sha256": "0"},
        {**S3, "expires": "never"},
        {**ERROR, "reason": "bad-luck"},
        {**ERROR, "message": "x" * 4097},
        {"storageType": "s3"},
        {},
    ],
    ids=range(9),
)
def test_malformed_artifact_is_refused(task_queue: Any, task_id: str, body: dict[str, Any]) -> None:
    assert refused(task_queue, task_id, "public/x", body) == (400, "InputValidationError")


@pytest.mark.parametrize("away", ["-16 minutes", "2 years"])
def test_artifact_lives_neither_in_the_past_nor_longer_than_its_task(task_queue: Any, task_id: str, away: str) -> None:
    expires = taskcluster.fromNowJSON(away)
    assert refused(task_queue, task_id, "public/x", {**S3, "expires": expires}) == (400, "InputError")


def test_expiry_a_little_in_the_past_is_accepted(task_queue: Any, task_id: str) -> None:
    body = {**S3, "expires": taskcluster.fromNowJSON("-10 minutes"), "contentLength": 5}
    assert task_queue.createArtifact(task_id, 0, "public/x", body)["putUrl"]


@pytest.mark.parametrize("name", ["ü", "a\nb", "tab\t", "\x7f"])
def test_name_must_be_printable_ascii(task_queue: Any, task_id: str, name: str) -> None:
    assert refused(task_queue, task_id, name, S3) == (400, "InvalidRequestArguments")


@pytest.mark.parametrize("body", [S3, ERROR, REFERENCE, LINK], ids=lambda body: body["storageType"])
def test_too_long_name_is_stored_and_spoils_the_list(
    queue: Any, task_queue: Any, task_id: str, body: dict[str, Any]
) -> None:
    name = "public/" + "x" * 1018
    if body is S3:
        task_queue.createArtifact(task_id, 0, name, body)
    else:
        assert refused(task_queue, task_id, name, body)[0] == 500
    with pytest.raises(TaskclusterRestFailure) as error:
        queue.listArtifacts(task_id, 0)
    assert error.value.status_code == 500


@pytest.mark.parametrize("name", ["public/a//b", "public/100%41"])
def test_some_public_names_upload_well_but_are_not_found(queue: Any, task_queue: Any, task_id: str, name: str) -> None:
    upload(task_queue, task_id, name, b"lost")
    answer = requests.get(queue.buildUrl("getArtifact", task_id, 0, name), timeout=10)
    assert answer.status_code == 404


@pytest.mark.parametrize("name", ["../../etc/passwd", "public/../../x", "/etc/passwd"])
def test_name_never_leads_out_of_the_storage(queue: Any, task_queue: Any, task_id: str, name: str) -> None:
    url = task_queue.createArtifact(task_id, 0, name, S3)["putUrl"]
    assert requests.put(url, data=b"x", timeout=10).status_code in (200, 403)
    assert queue.listArtifacts(task_id, 0)["artifacts"][0]["name"] == name


def test_unclaimed_run_has_no_artifacts(queue: Any) -> None:
    task_id = new_slug()
    queue.createTask(task_id, task_definition())
    assert refused(queue, task_id, "public/x", S3) == (400, "InputError")
    with pytest.raises(TaskclusterRestFailure) as error:
        queue.listArtifacts(task_id, 3)
    assert error.value.status_code == 404


@pytest.mark.parametrize("report", ["reportCompleted", "reportFailed"])
def test_resolved_run_takes_no_more_artifacts(task_queue: Any, task_id: str, report: str) -> None:
    getattr(task_queue, report)(task_id, 0)
    assert refused(task_queue, task_id, "public/x", S3) == (409, "RequestConflict")


def test_run_ended_by_exception_takes_artifacts_for_a_while(queue: Any, task_queue: Any, task_id: str) -> None:
    queue.cancelTask(task_id)
    upload(task_queue, task_id, "public/log", b"what happened")
    assert requests.get(queue.buildUrl("getArtifact", task_id, 0, "public/log"), timeout=10).status_code == 200


def test_that_while_ends_after_25_minutes(cluster: Cluster, clock: ManualClock) -> None:
    task_id = new_slug()
    cluster.creation.create(task_id, Definition.parse(task_id, task_definition(clock.now())))
    cluster.claims.take("proj-test/ci", Worker("g", "w"), 1)
    cluster.runs.cancel(task_id)
    body = {**S3, "expires": (clock.now() + timedelta(days=1)).isoformat()}
    clock.move(minutes=24)
    cluster.artifacts.create(task_id, 0, "public/a", body)
    clock.move(minutes=2)
    with pytest.raises(RequestConflict):
        cluster.artifacts.create(task_id, 0, "public/b", body)


def test_artifacts_are_listed_in_pages(queue: Any, task_queue: Any, task_id: str) -> None:
    for number in range(5):
        task_queue.createArtifact(task_id, 0, f"public/{number}", ERROR)
    pages: list[dict[str, Any]] = []
    queue.listLatestArtifacts(task_id, paginationHandler=pages.append, paginationLimit=2)
    assert [[each["name"][-1] for each in page["artifacts"]] for page in pages] == [["0", "1"], ["2", "3"], ["4"]]


@pytest.mark.parametrize("query", [{"limit": "many"}, {"continuationToken": "%%"}, {"continuationToken": "gg"}])
def test_malformed_page_is_refused(queue: Any, task_id: str, query: dict[str, str]) -> None:
    with pytest.raises(TaskclusterRestFailure) as error:
        queue.listArtifacts(task_id, 0, query=query)
    assert error.value.status_code == 400


def test_artifacts_need_the_scope_of_their_run(server: DevCluster, task_id: str) -> None:
    worker = server.client(taskcluster.Queue, authorizedScopes=["queue:worker-id:group/worker"])
    assert refused(worker, task_id, "public/x", S3) == (403, "InsufficientScopes")


def test_latest_run_is_the_one_that_counts(queue: Any, task_queue: Any, task_id: str, queue_id: str) -> None:
    upload(task_queue, task_id, "public/x", b"first")
    task_queue.reportException(task_id, 0, {"reason": "worker-shutdown"})
    queue.claimWork(queue_id, {**WORKER, "tasks": 1})
    with pytest.raises(TaskclusterRestFailure) as error:
        queue.latestArtifactInfo(task_id, "public/x")
    assert error.value.status_code == 404
    assert queue.artifactInfo(task_id, 0, "public/x")["contentType"] == "text/plain"


def test_link_needs_no_content_type_and_keeps_that_of_the_reference(queue: Any, task_queue: Any, task_id: str) -> None:
    expires = taskcluster.fromNowJSON("1 day")
    link = {"storageType": "link", "expires": expires, "artifact": "public/other"}
    reference = {"storageType": "reference", "contentType": "text/x", "url": "https://x/", "expires": expires}
    task_queue.createArtifact(task_id, 0, "public/new", link)
    task_queue.createArtifact(task_id, 0, "public/old", reference)
    task_queue.createArtifact(task_id, 0, "public/old", {**link, "contentType": "text/y"})
    kinds = {one["name"]: one["contentType"] for one in queue.listArtifacts(task_id, 0)["artifacts"]}
    assert kinds == {"public/new": "application/binary", "public/old": "text/x"}


def test_length_is_that_of_the_first_call(queue: Any, task_queue: Any, task_id: str) -> None:
    body = {"storageType": "s3", "contentType": "text/x", "expires": taskcluster.fromNowJSON("1 day")}
    task_queue.createArtifact(task_id, 0, "public/a", {**body, "contentLength": 5})
    task_queue.createArtifact(task_id, 0, "public/a", {**body, "contentLength": 6})
    assert queue.artifactInfo(task_id, 0, "public/a")["contentLength"] == 5


def test_expired_artifact_is_gone(queue: Any, task_queue: Any, task_id: str) -> None:
    body = {"storageType": "s3", "contentType": "text/x", "expires": taskcluster.fromNowJSON("-1 minute")}
    task_queue.createArtifact(task_id, 0, "public/a", body)
    for call in (queue.getArtifact, queue.artifact):
        with pytest.raises(TaskclusterRestFailure) as error:
            call(task_id, 0, "public/a")
        assert (error.value.status_code, error.value.body["code"]) == (410, "ResourceExpired")
