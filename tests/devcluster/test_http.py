"""What all calls have in common, as HTTP."""

import http.client
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import taskcluster
import taskcluster.aio

from simulators.devcluster import DevCluster, task_definition
from taskward.devcluster.app import create_app
from taskward.devcluster.cluster import Cluster
from taskward.devcluster.identifiers import new_slug

S3 = {"storageType": "s3", "contentType": "text/plain", "expires": taskcluster.fromNowJSON("1 day")}


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/queue/v1/nothing", "/api/queue/v2/ping", "/s3/bucket", "/api//ping"]
)
def test_unknown_path_is_not_found(server: DevCluster, path: str) -> None:
    answer = requests.get(server.root_url + path, timeout=10, allow_redirects=False)
    assert answer.status_code == 404
    assert answer.json()["code"] == "ResourceNotFound"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"{", "application/json"),
        (b"", "application/json"),
        (b'{"a": NaN}', "application/json"),
        (b"[" * 200_000, "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"{}", "text/plain"),
    ],
    ids=["cut", "empty", "nan", "deep", "bytes", "type"],
)
def test_body_that_is_not_json_is_refused(server: DevCluster, content: bytes, content_type: str) -> None:
    url = f"{server.root_url}/api/auth/v1/scopes/expand"
    answer = requests.post(url, data=content, headers={"Content-Type": content_type}, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, "MalformedPayload")


@pytest.mark.parametrize("value", ["\x00", "\ud800", "💥" * 1000, "'; DROP TABLE tasks; --"])
def test_strange_text_in_a_payload_comes_back(queue: Any, value: str) -> None:
    task_id = new_slug()
    queue.createTask(task_id, task_definition(payload={"x": value, value: 1}))
    assert queue.task(task_id)["payload"]["x"] == value
    queue.cancelTask(task_id)


def test_browsers_of_any_origin_may_read(server: DevCluster) -> None:
    answer = requests.options(f"{server.root_url}/api/queue/v1/ping", timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


def test_errors_do_not_repeat_a_secret(server: DevCluster) -> None:
    client = server.client(taskcluster.Secrets, {})
    answer = requests.put(
        client.buildUrl("set", "x", payload={"secret": {"password": "hunter2"}, "expires": "x"}),
        json={"secret": {"password": "hunter2"}, "expires": "tomorrow"},
        timeout=10,
    )
    assert answer.status_code == 400
    assert "hunter2" not in answer.text
    assert answer.json()["requestInfo"]["payload"] == {"secret": "(OMITTED)", "expires": "tomorrow"}


def test_errors_tell_the_request_as_the_real_services_do(server: DevCluster) -> None:
    task_id, wish = new_slug(), {"reason": "worker-shutdown"}
    url = f"{server.root_url}/api/queue/v1/task/{task_id}/runs/0/exception"
    told = requests.post(url, json=wish, timeout=10).json()["requestInfo"]
    assert {key: told[key] for key in told if key != "time"} == {
        "method": "reportException",
        "params": {"taskId": task_id, "runId": "0"},
        "payload": wish,
    }
    assert requests.get(url.removesuffix("/exception"), timeout=10).json().get("requestInfo") is None


@pytest.mark.parametrize(
    ("content", "content_type"), [(b"", ""), (b"{", "application/json"), (b"x", "text/plain"), (b"{}", "text/plain")]
)
def test_errors_tell_an_empty_payload_when_there_is_none(server: DevCluster, content: bytes, content_type: str) -> None:
    url = f"{server.root_url}/api/queue/v1/task/{new_slug()}/cancel"
    answer = requests.post(url, data=content, headers={"Content-Type": content_type}, timeout=10)
    assert answer.status_code >= 400
    assert answer.json()["requestInfo"]["payload"] == {}


def test_malformed_parameters_are_named_as_the_client_knows_them(server: DevCluster) -> None:
    answer = requests.get(f"{server.root_url}/api/queue/v1/task/nonsense/runs/x/artifacts", timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidRequestArguments")
    assert "URL parameter 'taskId' given as 'nonsense' must match regular expression: '/^" in answer.json()["message"]
    assert "URL parameter 'runId' given as 'x'" in answer.json()["message"]


def test_many_clients_at_once_are_served(server: DevCluster, queue_id: str) -> None:
    def life(_number: int) -> str:
        queue = server.client(taskcluster.Queue)
        task_id = new_slug()
        queue.createTask(task_id, task_definition(taskQueueId=queue_id))
        state: str = queue.cancelTask(task_id)["status"]["state"]
        return state

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(life, range(64))) == {"exception"}


def test_more_connections_than_threads_are_all_served(tmp_path: Path) -> None:
    with DevCluster.start(tmp_path, threads=2) as cluster:
        place = urlsplit(cluster.root_url)
        open_ones = [http.client.HTTPConnection(str(place.hostname), place.port, timeout=10) for _ in range(6)]
        for connection in open_ones * 3:
            connection.request("GET", "/api/queue/v1/ping")
            assert json.loads(connection.getresponse().read())["alive"]
        for connection in open_ones:
            connection.close()


def test_requests_sent_at_once_are_answered_in_turn(server: DevCluster) -> None:
    place = urlsplit(server.root_url)
    asked = [f"GET /api/{name}/v1/ping HTTP/1.1\r\nHost: x\r\n\r\n".encode() for name in ("queue", "none", "index")]
    with socket.create_connection((str(place.hostname), place.port or 0), timeout=10) as connection:
        connection.sendall(b"".join(asked))
        received = b""
        while received.count(b"HTTP/1.1") < 3 or not received.endswith(b"}"):
            received += connection.recv(65536)
    assert [part[:4] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200 ", b"404 ", b"200 "]


def test_middleware_stands_before_every_call(cluster: Cluster) -> None:
    seen: list[str] = []

    def watch(inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(environ: dict[str, Any], start_response: Any) -> Any:
            seen.append(environ["PATH_INFO"])
            return inner(environ, start_response)

        return call

    client = create_app(cluster, watch).test_client()
    assert client.get("/api/queue/v1/ping").status_code == 200
    assert client.get("/s3/public-artifacts/x").status_code == 404
    assert seen == ["/api/queue/v1/ping", "/s3/public-artifacts/x"]


def test_failed_transaction_leaves_nothing_and_the_next_one_works(cluster: Cluster) -> None:
    def fail_in_the_middle() -> None:
        with cluster.database.transaction() as db:
            db.execute("INSERT INTO facts VALUES ('a', 'b')")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        fail_in_the_middle()
    assert cluster.database.fact("a", lambda: "fresh") == "fresh"
