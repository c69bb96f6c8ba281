"""How a hostile task may write its requests: whatever could be read in two ways is refused."""

import pytest

from executor.docker.dind.quay import VICTIM_ID, Quay


@pytest.mark.parametrize(
    "text",
    [
        '{"Image": "busybox", "HostConfig": {"Privileged": false, "Privileged": true}}',
        '{"Image": "busybox", "HostConfig": {}, "HostConfig": {"Privileged": true}}',
        '{"Image": "busybox", "hostconfig": {"Privileged": true}}',
        '{"Image": "busybox", "ho\u017ftConfig": {"Privileged": true}}',
        '{"Image": "busybox", "HostConfig": {"\\u0050rivileged": true}}',
        '{"image": "busybox"}',
        '{"Image": "busybox", "HostConfig": [{"Privileged": true}]}',
        '{"Image": "busybox", "HostConfig": "Privileged"}',
        '{"Image": "busybox"} {"HostConfig": {"Privileged": true}}',
        '{"Image": "busybox", "StopTimeout": NaN}',
        '{"Image": "busybox", "StopTimeout": 1e400}',
        '\ufeff{"Image": "busybox"}',
        "[" * 100_000,
        "null",
        "[]",
        '"text"',
        "",
        '{"Image": "busybox", "MacAddress": "02:42:ac:11:00:02"}',
        '{"Image": "busybox", "Hostname": "a\\nb"}',
        '{"Image": "busybox", "Domainname": "a b"}',
        '{"Image": "busybox", "Env": ["A=\\u0000"]}',
        '{"Image": "busybox", "Volumes": {"/a:/b": {}}}',
        '{"Image": "busybox", "Volumes": {"/a": {"x": 1}}}',
        '{"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": {"other": {"NetworkID": "x"}}}}',
        '{"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": {"bridge": {"IPAddress": "172.18.0.9"}}}}',
        '{"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": {"bridge": {"MacAddress": "02:42:ac:11:0:2"}}}}',
        '{"Image": "taskward/executor:latest"}',
        '{"Image": "sha256:' + "d" * 64 + '"}',
        '{"Image": "dddd"}',
        '{"Image": "../busybox"}',
        '{"Image": "BUSYBOX"}',
    ],
)
def test_no_second_reading_of_a_request(quay: Quay, text: str) -> None:
    reply = quay.create(text.encode("utf-8", "surrogatepass"))

    assert reply.status in (400, 403, 404), reply.body
    assert quay.asked == []


@pytest.mark.parametrize(
    "text",
    [b'{"Image": "busybox\xff"}', b"\x00", b"{", b"\x1f\x8b\x08", b'{"Image": "busybox", "Env": ["' + b"x" * (1 << 21)],
)
def test_what_is_no_json_is_not_passed_on(quay: Quay, text: bytes) -> None:
    assert quay.create(text).status in (400, 413)
    assert quay.asked == []


@pytest.mark.parametrize(
    "target",
    [
        "/v1.41/../containers/mine/json", "/v1.41//containers/mine/json", "/v1.41/containers/%6dine/json",
        "/v1.41/containers/mine%2fjson", "/v1.41/containers/mine/json%00", "/v1.41/containers/../swarm",
        "/v1.41/./containers/mine/json", "/v1.41/containers/mine/json/", "/v1.41/containers/mine;/json",
        "/V1.41/_ping", "/v1.41/v1.41/containers/mine/json", "/v1.411/containers/json", "/v1.99/containers/json",
        "/v9.1/containers/json",
        "/v1.1/containers/json", "/v0.0/containers/json", "/v1.41", "/", "/v1.41/containers/mine/json#x",
        "/v1.41/containers/mine/../../../swarm/json", f"/v1.41/containers/mine/../{VICTIM_ID}/json",
    ],
)  # fmt: skip
def test_a_path_means_one_thing(quay: Quay, target: str) -> None:
    assert quay.ask("GET", target).status in (400, 403, 404)
    assert quay.asked == []


PING = b"GET /v1.41/_ping HTTP/1.1\r\nHost: docker\r\n\r\n"
BODY = b'{"Image": "busybox"}'


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 20\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding : chunked",
        b"Content-Length: 20\r\nContent-Length: 0",
        b"Content-Length: 20, 20",
        b"Content-Length: +20",
        b"Content-Length: 0x14",
        b"Content-Length: -1",
        b"Content-Length: 20\r\n folded",
        b"Content-Length: 20\nX: y",
        b"Content-Encoding: gzip\r\nContent-Length: 20",
        b"Host: a\r\nHost: b\r\nContent-Length: 20",
        b": empty\r\nContent-Length: 20",
        b"X\x00: y\r\nContent-Length: 20",
        b"X: \xff\r\nContent-Length: 20",
        b"X: " + b"y" * (1 << 16),
        b"\r\n".join(b"X%d: y" % number for number in range(200)),
    ],
)
def test_a_head_that_could_be_read_in_two_ways_is_refused(quay: Quay, head: bytes) -> None:
    reply = quay.say(b"POST /v1.41/containers/create HTTP/1.1\r\n" + head + b"\r\n\r\n" + BODY)

    assert reply.status == 400
    assert quay.asked == []


@pytest.mark.parametrize(
    "line",
    [b"GET  /_ping HTTP/1.1", b"get /_ping HTTP/1.1", b"GET http://docker/_ping HTTP/1.1", b"GET * HTTP/1.1",
     b"PRI * HTTP/2.0", b"CONNECT /_ping HTTP/1.1", b"GET /_ping", b"GET /_ping HTTP/1.1 x", b"", b"PATCH / HTTP/1.1",
     b"OPTIONS /_ping HTTP/1.1", b"TRACE /_ping HTTP/1.1", b"GET /\xff HTTP/1.1", b"GET /a\tb HTTP/1.1"],
)  # fmt: skip
def test_a_first_line_is_what_clients_write(quay: Quay, line: bytes) -> None:
    assert quay.say(line + b"\r\nHost: docker\r\n\r\n").status == 400
    assert quay.asked == []


@pytest.mark.parametrize(
    "chunks",
    [b"x\r\n", b"-1\r\n", b"14 \r\n" + BODY, b"14\r\n" + BODY + b"xx0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"14\n" + BODY,
     b"FFFFFFFFFFFFFFFFFF\r\n" + BODY, b"0x14\r\n" + BODY],
)  # fmt: skip
def test_chunks_are_what_they_say(quay: Quay, chunks: bytes) -> None:
    head = b"POST /v1.41/containers/create HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert quay.say(head + chunks).status in (400, 413)
    assert quay.asked == []


def test_a_second_request_behind_the_first_is_never_read(quay: Quay) -> None:
    head = b"POST /v1.41/containers/create HTTP/1.1\r\nContent-Length: 20\r\nConnection: keep-alive\r\n\r\n"
    reply = quay.say(head + BODY + b"DELETE /v1.41/containers/mine?force=1 HTTP/1.1\r\n\r\n")

    assert reply.status == 201
    assert "Connection: close" in reply.head
    assert [each.method for each in quay.asked] == ["POST"]
    quay.ask("DELETE", f"/containers/{reply.document['Id']}")
