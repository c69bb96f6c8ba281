"""Artifacts of type object, and the object service, with the helpers of the plain client."""

import base64
import hashlib
import io
from typing import Any

import pytest
import requests
import taskcluster
from taskcluster.download import downloadArtifactToBuf, downloadArtifactToFile
from taskcluster.exceptions import TaskclusterRestFailure
from taskcluster.upload import uploadFromBuf, uploadFromFile

from simulators.devcluster import DevCluster

EXPIRES = taskcluster.fromNowJSON("1 day")
OBJECT = {"storageType": "object", "contentType": "text/plain", "expires": EXPIRES}


@pytest.fixture
def task_id(claim: dict[str, Any]) -> str:
    return str(claim["status"]["taskId"])


@pytest.fixture
def created(task_queue: Any, task_id: str) -> dict[str, Any]:
    made: dict[str, Any] = task_queue.createArtifact(task_id, 0, "public/x", OBJECT)
    return made


@pytest.fixture
def objects(server: DevCluster, created: dict[str, Any]) -> Any:
    return server.client(taskcluster.Object, created["credentials"])


def begin(objects: Any, created: dict[str, Any], **methods: Any) -> dict[str, Any]:
    wish = {key: created[key] for key in ("expires", "projectId", "uploadId")}
    reply: dict[str, Any] = objects.createUpload(created["name"], {**wish, "proposedUploadMethods": methods})
    return reply


def finish(objects: Any, created: dict[str, Any], data: bytes) -> None:
    hashes = {name: hashlib.new(name, data).hexdigest() for name in ("sha256", "sha512")}
    wish = {key: created[key] for key in ("projectId", "uploadId")}
    objects.finishUpload(created["name"], {**wish, "hashes": hashes})


def status_of(call: Any, *arguments: Any) -> int:
    with pytest.raises(TaskclusterRestFailure) as error:
        call(*arguments)
    return int(error.value.status_code)


@pytest.mark.parametrize("size", [0, 100, 8191, 8192, 300_000])
def test_helpers_of_the_client_upload_and_download(
    queue: Any, task_queue: Any, objects: Any, created: dict[str, Any], task_id: str, size: int
) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    place = {"projectId": created["projectId"], "name": created["name"], "uploadId": created["uploadId"]}
    uploadFromBuf(data=data, contentType="a/b", contentLength=size, expires=EXPIRES, objectService=objects, **place)
    task_queue.finishArtifact(task_id, 0, "public/x", {"uploadId": created["uploadId"]})
    found, content_type = downloadArtifactToBuf(taskId=task_id, runId=0, name="public/x", queueService=queue)
    assert (bytes(found), content_type) == (data, "a/b")
    answer = requests.get(queue.buildUrl("getArtifact", task_id, 0, "public/x"), timeout=10)
    assert answer.content == data
    assert answer.history[0].headers["x-taskcluster-artifact-storage-type"] == "object"


def test_files_are_uploaded_and_downloaded(
    queue: Any, task_queue: Any, objects: Any, created: dict[str, Any], task_id: str
) -> None:
    data = b"line\n" * 100_000
    place = {"projectId": created["projectId"], "name": created["name"], "uploadId": created["uploadId"]}
    uploadFromFile(
        file=io.BytesIO(data), contentType="a/b", contentLength=len(data), expires=EXPIRES, objectService=objects,
        **place,
    )  # fmt: skip
    task_queue.finishArtifact(task_id, 0, "public/x", {"uploadId": created["uploadId"]})
    target = io.BytesIO()
    downloadArtifactToFile(target, taskId=task_id, name="public/x", queueService=queue)
    assert target.getvalue() == data


def test_reply_names_the_object_and_how_to_upload_it(created: dict[str, Any], task_id: str) -> None:
    assert set(created) == {"storageType", "name", "projectId", "uploadId", "expires", "credentials"}
    assert created["name"] == f"t/{task_id}/0/public/x"


def test_second_creation_is_an_internal_error(task_queue: Any, created: dict[str, Any], task_id: str) -> None:
    assert created["storageType"] == "object"
    assert status_of(task_queue.createArtifact, task_id, 0, "public/x", OBJECT) == 500


def test_unfinished_object_is_listed_but_cannot_be_read(
    queue: Any, task_queue: Any, objects: Any, created: dict[str, Any], task_id: str
) -> None:
    begin(objects, created, putUrl={"contentType": "a/b", "contentLength": 1})
    assert [each["name"] for each in queue.listArtifacts(task_id, 0)["artifacts"]] == ["public/x"]
    assert status_of(queue.artifactInfo, task_id, 0, "public/x") == 404
    assert status_of(queue.artifact, task_id, 0, "public/x") == 404
    assert task_queue.reportCompleted(task_id, 0)["status"]["state"] == "completed"


def test_finishing_needs_a_finished_upload_and_its_id(
    task_queue: Any, objects: Any, created: dict[str, Any], task_id: str
) -> None:
    right, wrong = {"uploadId": created["uploadId"]}, {"uploadId": taskcluster.slugId()}
    assert status_of(task_queue.finishArtifact, task_id, 0, "public/x", right) == 400
    begin(objects, created, dataInline={"contentType": "a/b", "objectData": ""})
    finish(objects, created, b"")
    finish(objects, created, b"")
    assert status_of(task_queue.finishArtifact, task_id, 0, "public/x", wrong) == 400
    task_queue.finishArtifact(task_id, 0, "public/x", right)
    task_queue.finishArtifact(task_id, 0, "public/x", right)
    assert status_of(task_queue.finishArtifact, task_id, 0, "public/none", right) == 404


def test_only_objects_are_finished(task_queue: Any, task_id: str) -> None:
    task_queue.createArtifact(task_id, 0, "public/s3", {**OBJECT, "storageType": "s3"})
    assert status_of(task_queue.finishArtifact, task_id, 0, "public/s3", {"uploadId": taskcluster.slugId()}) == 400


def test_data_inline_wins_over_a_url(objects: Any, created: dict[str, Any]) -> None:
    inline = {"contentType": "a/b", "objectData": base64.b64encode(b"x").decode()}
    put = {"contentType": "a/b", "contentLength": 1}
    assert begin(objects, created, dataInline=inline, putUrl=put)["uploadMethod"] == {"dataInline": True}


def test_without_a_known_method_none_is_chosen(objects: Any, created: dict[str, Any]) -> None:
    assert begin(objects, created)["uploadMethod"] == {}


@pytest.mark.parametrize("data", ["x" * 10927, "a", "!!!!"])
def test_malformed_data_inline_is_refused(objects: Any, created: dict[str, Any], data: str) -> None:
    inline = {"contentType": "a/b", "objectData": data}
    with pytest.raises(TaskclusterRestFailure) as error:
        begin(objects, created, dataInline=inline)
    assert error.value.status_code == 400


@pytest.mark.parametrize(
    ("headers", "data"),
    [
        ({"Content-Type": "c/d"}, b"abc"),
        ({"Content-Type": "a/b"}, b"abcd"),
        ({}, b"abc"),
    ],
)
def test_upload_must_carry_the_signed_headers(
    objects: Any, created: dict[str, Any], headers: dict[str, str], data: bytes
) -> None:
    method = begin(objects, created, putUrl={"contentType": "a/b", "contentLength": 3})["uploadMethod"]["putUrl"]
    assert method["headers"] == {"Content-Type": "a/b", "Content-Length": "3"}
    assert requests.put(method["url"], data=data, headers=headers, timeout=10).status_code == 403
    assert requests.put(method["url"], data=b"abc", headers={"Content-Type": "a/b"}, timeout=10).status_code == 200


def test_another_upload_of_the_same_name_is_a_conflict(server: DevCluster, created: dict[str, Any]) -> None:
    root = server.client(taskcluster.Object)
    with pytest.raises(TaskclusterRestFailure) as error:
        begin(root, {**created, "uploadId": taskcluster.slugId()})
    assert error.value.status_code == 409


def test_upload_is_finished_under_its_own_project_and_id(server: DevCluster, created: dict[str, Any]) -> None:
    root, other = server.client(taskcluster.Object), {**created, "uploadId": taskcluster.slugId()}
    begin(root, created, dataInline={"contentType": "a/b", "objectData": ""})
    assert status_of(finish, root, {**created, "projectId": "other"}, b"") == 400
    assert status_of(finish, root, other, b"") == 409
    finish(root, created, b"")
    finish(root, other, b"")  # as good as a repeat, since the hashes are the same


def test_finished_object_keeps_its_hashes(objects: Any, created: dict[str, Any]) -> None:
    begin(objects, created, dataInline={"contentType": "a/b", "objectData": ""})
    finish(objects, created, b"")
    with pytest.raises(TaskclusterRestFailure) as error:
        finish(objects, created, b"other")
    assert error.value.status_code == 409


def test_credentials_are_for_one_object_only(objects: Any, created: dict[str, Any]) -> None:
    with pytest.raises(TaskclusterRestFailure) as error:
        begin(objects, {**created, "name": created["name"] + "y"})
    assert error.value.status_code == 403


def test_object_is_downloaded_by_a_method_that_both_know(
    server: DevCluster, objects: Any, created: dict[str, Any]
) -> None:
    begin(objects, created, dataInline={"contentType": "a/b", "objectData": base64.b64encode(b"data").decode()})
    finish(objects, created, b"data")
    root, name = server.client(taskcluster.Object), created["name"]
    simple = root.startDownload(name, {"acceptDownloadMethods": {"simple": True}})
    assert requests.get(simple["url"], timeout=10).content == b"data"
    assert status_of(root.startDownload, name, {"acceptDownloadMethods": {}}) == 406
    assert set(root.object(name)["hashes"]) == {"sha256", "sha512"}
    assert requests.get(root.buildSignedUrl("download", name), timeout=10).content == b"data"
