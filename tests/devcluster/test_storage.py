"""The storage on its own: signatures, ranges, broken uploads."""

import http.client
import io
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import taskcluster

from simulators.devcluster import DevCluster, ManualClock
from taskward.devcluster.cluster import Cluster
from taskward.devcluster.signed_urls import SignedUrls, StorageError
from taskward.devcluster.storage import Storage

S3 = {"storageType": "s3", "contentType": "text/plain", "expires": taskcluster.fromNowJSON("1 day")}
LARGE = bytes(range(256)) * 1024


@pytest.fixture
def put_url(task_queue: Any, claim: dict[str, Any]) -> str:
    return str(task_queue.createArtifact(claim["status"]["taskId"], 0, "public/x", S3)["putUrl"])


def unsigned(url: str) -> str:
    return url.partition("?")[0]


def code(answer: requests.Response) -> str:
    return answer.text.partition("<Code>")[2].partition("</Code>")[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda url: unsigned(url),
        lambda url: url.replace("public/x", "public/y"),
        lambda url: url.replace("public-artifacts", "private-artifacts"),
        lambda url: url.replace("X-Amz-Expires=2710", "X-Amz-Expires=9999"),
        lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"),
        lambda url: url + "ü",
        lambda url: url.replace("SignedHeaders=host", "SignedHeaders="),
        lambda url: url.replace("SignedHeaders=host", "SignedHeaders=host%3Bcontent-type"),
    ],
    ids=["none", "key", "bucket", "expiry", "signature", "garbage", "no-headers", "more-headers"],
)
def test_forged_url_is_refused(put_url: str, change: Any) -> None:
    assert requests.put(change(put_url), data=b"x", timeout=10).status_code == 403


def test_url_is_for_one_method(put_url: str) -> None:
    assert requests.get(put_url, timeout=10).status_code == 403


def test_unsigned_amazon_header_is_refused(put_url: str) -> None:
    answer = requests.put(put_url, data=b"x", headers={"x-amz-acl": "public-read"}, timeout=10)
    assert (answer.status_code, code(answer)) == (403, "AccessDenied")


def test_chunked_upload_is_refused(put_url: str) -> None:
    answer = requests.put(put_url, data=iter([b"a", b"b"]), timeout=10)
    assert (answer.status_code, code(answer)) == (501, "NotImplemented")


def test_upload_without_length_is_refused(put_url: str) -> None:
    parts = urlsplit(put_url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.putrequest("PUT", f"{parts.path}?{parts.query}")
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 411
    connection.close()


def test_upload_cut_short_leaves_what_was_there(put_url: str) -> None:
    requests.put(put_url, data=b"whole", timeout=10)
    parts = urlsplit(put_url)
    host, port = parts.netloc.split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode() + b"half")
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1000)
    assert requests.get(unsigned(put_url), timeout=10).content == b"whole"


def test_later_upload_replaces_the_earlier(put_url: str) -> None:
    for data in (b"first", b"second and longer", b""):
        requests.put(put_url, data=data, headers={"Content-Length": str(len(data))}, timeout=10)
        assert requests.get(unsigned(put_url), timeout=10).content == data


@pytest.mark.parametrize(
    ("wanted", "status", "content"),
    [
        ("bytes=0-0", 206, b"0"),
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=5-100", 206, b"56789"),
        ("bytes=-100", 206, b"0123456789"),
        ("bytes=0-9", 206, b"0123456789"),
        ("bytes=10-", 416, None),
        ("bytes=4-2", 416, None),
        ("bytes=0-1,3-4", 200, b"0123456789"),
        ("lines=1", 200, b"0123456789"),
        ("bytes=-", 200, b"0123456789"),
    ],
)
def test_range_of_a_file(put_url: str, wanted: str, status: int, content: bytes | None) -> None:
    requests.put(put_url, data=b"0123456789", timeout=10)
    answer = requests.get(unsigned(put_url), headers={"Range": wanted}, timeout=10)
    assert answer.status_code == status
    if content is not None:
        assert answer.content == content
        assert answer.headers["Accept-Ranges"] == "bytes"


def test_head_tells_the_size_without_the_content(put_url: str) -> None:
    requests.put(put_url, data=b"0123456789", timeout=10)
    answer = requests.head(unsigned(put_url), timeout=10)
    assert (answer.status_code, answer.headers["Content-Length"], answer.content) == (200, "10", b"")


def test_large_file_passes_whole(server: DevCluster, put_url: str, tmp_path: Path) -> None:
    block = os.urandom(1 << 20)
    with (tmp_path / "large").open("wb") as file:
        for _ in range(48):
            file.write(block)
    with (tmp_path / "large").open("rb") as file:
        assert requests.put(put_url, data=file, timeout=60).status_code == 200
    with requests.get(unsigned(put_url), stream=True, timeout=60) as answer:
        assert all(piece == block for piece in answer.iter_content(1 << 20))
    assert server.root_url


def test_url_expires(clock: ManualClock) -> None:
    urls = SignedUrls(lambda: "http://x", "key", clock)
    url = urls.sign("PUT", "b", "k", timedelta(minutes=1))
    query = dict(pair.split("=") for pair in urlsplit(url).query.split("&"))
    clock.move(seconds=60)
    urls.check("PUT", "b", "k", query, {})
    clock.move(seconds=1)
    with pytest.raises(StorageError, match="expired"):
        urls.check("PUT", "b", "k", query, {})


def stored(cluster: Cluster, content: bytes) -> None:
    cluster.storage.receive("b", "k", io.BytesIO(content), len(content))


def found(storage: Storage) -> bytes:
    blob, file = storage.open("b", "k")
    with file:
        content = file.read()
    assert len(content) == blob.size_bytes
    return content


@pytest.mark.parametrize("content", [b"", b"kept", LARGE], ids=["empty", "small", "large"])
def test_remains_of_broken_uploads_are_swept_at_the_start(cluster: Cluster, tmp_path: Path, content: bytes) -> None:
    stored(cluster, content)
    (tmp_path / "blobs" / "leftover").write_bytes(b"x")
    again = Storage(tmp_path / "blobs", cluster.database, cluster.clock)
    assert found(again) == content
    assert not (tmp_path / "blobs" / "leftover").exists()


@pytest.mark.parametrize("missing", [1, len(LARGE)])
def test_short_stream_is_an_error_and_changes_nothing(cluster: Cluster, tmp_path: Path, missing: int) -> None:
    stored(cluster, b"whole")
    with pytest.raises(StorageError, match="ended after 3 of"):
        cluster.storage.receive("b", "k", io.BytesIO(b"abc"), 3 + missing)
    assert (found(cluster.storage), list((tmp_path / "blobs").iterdir())) == (b"whole", [])


@pytest.mark.parametrize("old", [b"old", LARGE], ids=["small", "large"])
def test_reader_of_a_replaced_body_reads_on(cluster: Cluster, old: bytes) -> None:
    stored(cluster, old)
    _, file = cluster.storage.open("b", "k")
    stored(cluster, b"new")
    with file:
        assert file.read() == old


def test_replaced_bodies_take_no_room(cluster: Cluster, tmp_path: Path) -> None:
    for content in (b"small", LARGE, b"smaller", LARGE, b"last"):
        stored(cluster, content)
        assert found(cluster.storage) == content
    with cluster.database.transaction() as db:
        kept = db.execute("SELECT content FROM small_contents").fetchall()
    assert ([row["content"] for row in kept], list((tmp_path / "blobs").iterdir())) == ([b"last"], [])


def test_files_replaced_while_they_are_read_are_always_whole(put_url: str) -> None:
    contents = [bytes([number]) * 100_000 for number in range(5)]
    requests.put(put_url, data=contents[0], timeout=10)
    stop = threading.Event()

    def replace() -> None:
        with requests.Session() as session:
            while not stop.is_set():
                for content in contents:
                    session.put(put_url, data=content, timeout=10)

    with ThreadPoolExecutor() as pool, requests.Session() as session:
        pool.submit(replace)
        found = [session.get(unsigned(put_url), timeout=10).content for _ in range(100)]
        stop.set()
    assert all(content in contents for content in found)
