"""What a request has to look like, and that it cannot be changed, forged or repeated."""

import base64
import hashlib
import socket
import time
from typing import Any

import pytest
from mohawk.base import EmptyValue

from signer.callers import SHA256, RawCaller
from signer.processes import Service
from signer.simulated_queue import SimulatedTask


def test_a_body_changed_on_the_way_is_refused(caller: RawCaller, task: SimulatedTask) -> None:
    body = caller.body(task)
    changed = body.replace(b'"runId": 0', b'"runId": 1')
    assert caller.code(changed, caller.header(body)) == (401, "not-authenticated")


def test_a_header_without_a_payload_hash_is_refused(caller: RawCaller, task: SimulatedTask) -> None:
    body = caller.body(task)
    header = caller.header(body, content=EmptyValue, always_hash_content=False)
    assert caller.code(body, header) == (401, "not-authenticated")


def test_a_header_with_its_hash_put_in_afterwards_is_refused(caller: RawCaller, task: SimulatedTask) -> None:
    honest, forged = caller.body(task), caller.body(task)
    text = b"hawk.1.payload\napplication/json\n" + forged + b"\n"
    digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
    header = caller.header(honest)
    start = header.index('hash="') + 6
    changed = header[:start] + digest + header[header.index('"', start) :]
    assert caller.code(forged, changed) == (401, "authentication-failed")


def test_an_attribute_given_twice_is_refused(caller: RawCaller, task: SimulatedTask) -> None:
    body = caller.body(task)
    header = caller.header(body)
    assert caller.code(body, header + ', hash="AAAA"') == (401, "not-authenticated")


@pytest.mark.parametrize("age_s", [-90, 90])
def test_an_old_or_future_request_is_refused(caller: RawCaller, task: SimulatedTask, age_s: int) -> None:
    body = caller.body(task)
    header = caller.header(body, _timestamp=int(time.time()) - age_s)
    assert caller.code(body, header) == (401, "not-authenticated")


def test_the_same_request_again_is_refused(caller: RawCaller, task: SimulatedTask) -> None:
    body = caller.body(task)
    header = caller.header(body)
    assert caller.send(body, header)[0] == 200
    assert caller.code(body, header) == (409, "replayed")


def test_a_header_made_for_another_service_is_refused(caller: RawCaller, task: SimulatedTask) -> None:
    body = caller.body(task)
    header = caller.header(body, url="https://tc.example.com/v1/certify")
    assert caller.code(body, header) == (401, "authentication-failed")


def test_no_header_at_all_is_refused(caller: RawCaller, task: SimulatedTask) -> None:
    assert caller.code(caller.body(task), "") == (401, "not-authenticated")
    assert caller.code(caller.body(task), "Bearer x") == (401, "not-authenticated")


GOOD = {"name": "public/a", "sha256": SHA256, "size_bytes": 1}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"extra": {}}, "extra"),
        ({"taskId": "short"}, "taskId"),
        ({"taskId": "../../../../../../../x"}, "taskId"),
        ({"runId": -1}, "runId"),
        ({"runId": True}, "runId"),
        ({"runId": "0"}, "runId"),
        ({"nonce": "short"}, "nonce"),
        ({"forms": []}, "forms"),
        ({"forms": ["pickle"]}, "forms"),
        ({"forms": [{}]}, "forms"),
        ({"artifacts": {}}, "artifacts"),
        ({"artifacts": [GOOD, GOOD]}, "given twice"),
        ({"artifacts": [{**GOOD, "name": "x" * 1025}]}, "artifacts[0].name"),
        ({"artifacts": [{**GOOD, "name": ""}]}, "artifacts[0].name"),
        ({"artifacts": [{**GOOD, "name": "publi\u00fc"}]}, "artifacts[0].name"),
        ({"artifacts": [{**GOOD, "name": "public/a\n"}]}, "artifacts[0].name"),
        ({"artifacts": [{**GOOD, "sha256": ""}]}, "artifacts[0].sha256"),
        ({"artifacts": [{**GOOD, "sha256": "A" * 64}]}, "artifacts[0].sha256"),
        ({"artifacts": [{**GOOD, "size_bytes": -1}]}, "artifacts[0].size_bytes"),
        ({"artifacts": [{"name": "public/a", "size_bytes": 1}]}, "sha256"),
        ({"artifacts": [{**GOOD, "md5": ""}]}, "md5"),
        ({"environment": {"imageHash": "latest"}}, "environment.imageHash"),
        ({"environment": {"region": "moon"}}, "region"),
    ],
)
def test_a_malformed_request_is_refused_with_the_key_named(
    caller: RawCaller, task: SimulatedTask, changes: dict[str, Any], named: str
) -> None:
    status, answer = caller.send(caller.body(task, **changes))
    assert (status, answer["error"]["code"]) == (400, "invalid-request")
    assert named in answer["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"taskId": "a", "taskId": "b"}', b'{"runId": NaN}', b"9" * 5000],
    ids=["empty", "list", "cut", "bytes", "deep", "twice", "nan", "digits"],
)
def test_a_body_that_is_no_unambiguous_json_object_is_refused(caller: RawCaller, body: bytes) -> None:
    assert caller.code(body) == (400, "invalid-request")


def test_an_oversized_body_is_refused_unread(caller: RawCaller, signer: Service) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(signer.directory / "signer.sock"))
        length = 32 * 1024 * 1024 + 1
        connection.sendall(f"POST /v1/certify HTTP/1.1\r\nHost: s\r\nContent-Length: {length}\r\n\r\n".encode())
        assert b"too-large" in connection.makefile("rb").read()


def test_a_body_without_a_length_is_refused(signer: Service) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(signer.directory / "signer.sock"))
        connection.sendall(
            b"POST /v1/certify HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n"
        )
        assert b"length-required" in connection.makefile("rb").read()
