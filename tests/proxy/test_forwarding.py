"""What reaches Taskcluster, and what comes back."""

import socket
import time
from collections.abc import Iterator

import mohawk
import pytest

from proxy.rig import TOKEN, Rig
from proxy.upstream import Peer, Received, SimulatedTaskcluster, raw, reply


@pytest.mark.parametrize("path", ["/api/queue/v1/task/x?a=%2F&b=//", "/queue/v1/task/x?a=%2F&b=//"])
def test_a_call_is_signed_and_forwarded_to_the_root_url(rig: Rig, path: str) -> None:
    answer = rig.request(path)
    sent = rig.taskcluster.requests[0]
    assert (answer.status, answer.body) == (200, b"{}")
    assert sent.target == "/api/queue/v1/task/x?a=%2F&b=//"
    assert sent.all("host") == [f"127.0.0.1:{rig.taskcluster.port}"]
    assert_signed(rig, sent)


def test_the_answer_tells_what_was_done(rig: Rig) -> None:
    answer = rig.request("/queue/v1/ping")
    assert answer.one("X-Taskcluster-Endpoint") == f"{rig.taskcluster.root_url}/api/queue/v1/ping"
    assert (answer.one("X-Taskcluster-Proxy-Version") or "").startswith("taskward/")
    assert answer.one("X-Taskcluster-Authorized-Scopes") == '["queue:create-artifact:T/0"]'
    assert answer.one("X-Taskcluster-Proxy-Perm-ClientId") == "task-client/T"


@pytest.mark.parametrize("path", ["/queue/v1/ping", "/bewit", "/nothing", "/credentials"])
def test_every_answer_tells_what_made_it(rig: Rig, path: str) -> None:
    answer = rig.request(path, "POST", b"/queue/v1/x")
    version = answer.one("X-Taskcluster-Proxy-Revision")
    assert version
    assert answer.one("X-Taskcluster-Proxy-Version") == f"taskward/{version}"


def test_a_long_url_arrives_whole_and_signed(rig: Rig) -> None:
    target = f"/api/queue/v1/x?bewit={'b' * 64_000}"
    answer = rig.request(target, headers={"Cookie": "c" * 20_000})
    sent = rig.taskcluster.requests[0]
    assert (answer.status, sent.target, sent.one("cookie")) == (200, target, "c" * 20_000)
    assert answer.one("X-Taskcluster-Endpoint") is None, "a line that long is more than many clients take"
    assert_signed(rig, sent)


@pytest.mark.parametrize(
    "method",
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "FOO-BAR", "X", "get", "M!#~", "L" * 50],
)
def test_every_method_is_forwarded_and_signed_for(rig: Rig, method: str) -> None:
    assert rig.request("/api/queue/v1/x", method).status == 200
    assert rig.taskcluster.requests[0].method == method
    assert_signed(rig, rig.taskcluster.requests[0])


@pytest.mark.parametrize("target", ["/api/queue/v1/x", "127.0.0.1:443", "/bewit"])
@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "trace", "Connect"])
def test_what_opens_a_tunnel_or_shows_a_signature_is_not(rig: Rig, method: str, target: str) -> None:
    answer = rig.raw(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert b" 405 " in answer or (not target.startswith("/") and b" 400 " in answer)
    assert rig.taskcluster.requests == []


@pytest.mark.parametrize("method", ["FOO-BAR", "post"])
def test_a_method_that_nobody_knows_is_not_tried_again(rig: Rig, method: str) -> None:
    rig.taskcluster.default = reply(status="503 Busy")
    assert rig.request("/api/queue/v1/x", method, b"body").status == 503
    assert [request.body for request in rig.taskcluster.requests] == [b"body"]


def assert_signed(rig: Rig, sent: Received) -> None:
    credentials = {"id": "task-client/T", "key": TOKEN, "algorithm": "sha256"}
    url, method = rig.taskcluster.root_url + sent.target, sent.method.upper()
    mohawk.Receiver(lambda _: credentials, sent.one("authorization"), url, method, accept_untrusted_content=True)


def test_the_own_authorization_of_a_task_is_replaced(rig: Rig) -> None:
    rig.request("/api/queue/v1/x", headers={"Authorization": "Bearer mine"})
    signatures = rig.taskcluster.requests[0].all("authorization")
    assert len(signatures) == 1
    assert signatures[0].startswith('Hawk id="task-client/T"')


def test_a_body_arrives_with_its_type_and_length(rig: Rig) -> None:
    rig.request("/api/queue/v1/x", "POST", b'{"a": 1}', {"Content-Type": "application/json"})
    sent = rig.taskcluster.requests[0]
    assert (sent.body, sent.all("content-length"), sent.one("content-type")) == (b'{"a": 1}', ["8"], "application/json")


def test_an_empty_body_keeps_its_length(rig: Rig) -> None:
    rig.request("/api/queue/v1/x", "POST", b"", {"Content-Length": "0"})
    assert rig.taskcluster.requests[0].all("content-length") == ["0"]


def test_a_get_without_body_gets_no_framing(rig: Rig) -> None:
    rig.request("/api/queue/v1/x")
    sent = rig.taskcluster.requests[0]
    assert sent.all("content-length") + sent.all("transfer-encoding") == []


def test_a_chunked_body_arrives_whole_and_chunked(rig: Rig) -> None:
    pieces = iter([b"one", b"two" * 5000, b"three"])
    rig.request("/api/queue/v1/x", "POST", pieces, {"Transfer-Encoding": "chunked"}, chunked=True)
    sent = rig.taskcluster.requests[0]
    assert sent.body == b"one" + b"two" * 5000 + b"three"
    assert sent.all("content-length") == []


def test_trailers_are_dropped(rig: Rig) -> None:
    answer = rig.raw(
        b"POST /api/queue/v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n"
        b"Connection: close\r\n\r\n3\r\nabc\r\n0\r\nX-T: v\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200")
    assert rig.taskcluster.requests[0].body == b"abc"


def test_expect_continue_is_answered_here_and_not_sent_on(rig: Rig) -> None:
    with rig.dial() as sock:
        sock.sendall(b"PUT /api/queue/v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        sock.sendall(b"abc")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    sent = rig.taskcluster.requests[0]
    assert (sent.body, sent.all("expect")) == (b"abc", [])


def test_redirects_are_passed_on(rig: Rig) -> None:
    rig.taskcluster.next(reply(b"", "303 See Other", "Location: https://elsewhere.example.com/x?y=%2F\r\n"))
    answer = rig.request("/api/queue/v1/x")
    assert (answer.status, answer.one("Location")) == (303, "https://elsewhere.example.com/x?y=%2F")
    assert len(rig.taskcluster.requests) == 1


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "409 Conflict"]
)
def test_errors_of_taskcluster_are_passed_on_with_their_body(rig: Rig, status: str) -> None:
    rig.taskcluster.next(reply(b'{"message": "no"}', status))
    answer = rig.request("/api/queue/v1/x")
    assert (answer.status, answer.body) == (int(status[:3]), b'{"message": "no"}')
    assert len(rig.taskcluster.requests) == 1


def test_repeated_answer_fields_are_kept(rig: Rig) -> None:
    rig.taskcluster.next(reply(extra="Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"))
    fields = rig.request("/api/queue/v1/x").fields
    assert [value for name, value in fields if name == "Set-Cookie"] == ["a=1", "b=2"]
    assert "X-Hop" not in dict(fields)
    assert len([name for name, _ in fields if name == "Date"]) == 1


def test_an_encoded_answer_is_passed_through_as_it_is(rig: Rig) -> None:
    rig.taskcluster.next(reply(b"\x1f\x8b not really gzip", extra="Content-Encoding: gzip\r\n"))
    answer = rig.request("/api/queue/v1/x", headers={"Accept-Encoding": "gzip"})
    assert (answer.one("Content-Encoding"), answer.body) == ("gzip", b"\x1f\x8b not really gzip")
    assert rig.taskcluster.requests[0].one("accept-encoding") == "gzip"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_body_end_with_their_head(rig: Rig, status: str) -> None:
    rig.taskcluster.next(raw(f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode(), keep=True))
    connection = rig.connect()
    connection.request("GET", "/api/queue/v1/x")
    assert connection.getresponse().read() == b""
    connection.request("GET", "/api/queue/v1/y")
    assert connection.getresponse().read() == b"{}"
    connection.close()


def test_head_tells_the_length_of_get_and_has_no_body(rig: Rig) -> None:
    rig.taskcluster.next(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n", keep=True))
    connection = rig.connect()
    connection.request("HEAD", "/api/queue/v1/x")
    response = connection.getresponse()
    assert (response.getheader("Content-Length"), response.read()) == ("12345", b"")
    connection.request("GET", "/api/queue/v1/y")
    assert connection.getresponse().read() == b"{}"
    connection.close()


def test_a_chunked_answer_is_passed_on_as_it_arrives(rig: Rig) -> None:
    def slowly(peer: Peer, request: Received) -> bool:
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfirs\r\n")
        time.sleep(0.4)
        peer.send(b"1\r\nt\r\n6;x=y\r\nsecond\r\n0\r\nX-Trailer: 1\r\n\r\n")
        return True

    rig.taskcluster.next(slowly)
    connection = rig.connect()
    started = time.monotonic()
    connection.request("GET", "/api/queue/v1/x")
    response = connection.getresponse()
    assert response.read1(4) == b"firs"
    assert time.monotonic() - started < 0.3
    assert response.read() == b"tsecond"
    connection.close()


def test_an_answer_that_ends_with_its_connection_is_passed_on(rig: Rig) -> None:
    rig.taskcluster.next(raw(b"HTTP/1.1 200 OK\r\n\r\nuntil the end"))
    assert rig.request("/api/queue/v1/x").body == b"until the end"


def test_an_old_client_gets_an_answer_it_understands(rig: Rig) -> None:
    rig.taskcluster.next(raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", keep=True))
    answer = rig.raw(b"GET /api/queue/v1/x HTTP/1.0\r\n\r\n")
    assert b"chunked" not in answer.lower()
    assert answer.endswith(b"\r\n\r\nabc")


def test_interim_answers_are_skipped(rig: Rig) -> None:
    rig.taskcluster.next(
        raw(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", keep=True)
    )
    answer = rig.request("/api/queue/v1/x")
    assert (answer.status, answer.body) == (200, b"ok")


def test_connections_to_taskcluster_are_reused(rig: Rig) -> None:
    before = rig.taskcluster.connections
    for _ in range(5):
        rig.request("/api/queue/v1/x")
    assert rig.taskcluster.connections <= before + 1


def test_pipelined_requests_are_answered_in_order(rig: Rig) -> None:
    rig.taskcluster.next(reply(b"1"), reply(b"2"))
    answer = rig.raw(
        b"POST /api/queue/v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        b"GET /api/queue/v1/b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert answer.count(b"HTTP/1.1 200") == 2
    assert [request.target[-1] for request in rig.taskcluster.requests] == ["a", "b"]
    assert rig.taskcluster.requests[0].body == b"abc"


def test_an_early_answer_stops_a_long_upload(rig: Rig) -> None:
    def refuse(peer: Peer, request: Received) -> bool:
        peer.send(b'HTTP/1.1 413 Too Large\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{"code":"No"}')
        peer.sock.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
        return False

    def endless() -> Iterator[bytes]:
        for _ in range(400):
            yield b"x" * 65536

    rig.taskcluster.next(refuse)
    with rig.dial() as sock:
        sock.sendall(b"PUT /api/queue/v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            for piece in endless():
                sock.sendall(piece)
        except OSError:
            pass
        answer = sock.recv(10000)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"Connection: close" in answer
    assert answer.endswith(b'{"code":"No"}')


def test_an_early_error_of_our_own_closes_the_connection(rig: Rig) -> None:
    answer = rig.raw(
        b"PUT /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nGET /api/queue/v1/x HTTP/1.1\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"Connection: close" in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert rig.taskcluster.requests == []


@pytest.mark.parametrize("path", ["/credentials", "/credentials/x"])
@pytest.mark.parametrize("method", ["PUT", "POST", "GET"])
def test_nobody_sets_credentials_through_the_proxy(rig: Rig, path: str, method: str) -> None:
    answer = rig.request(path, method, b'{"clientId": "evil", "accessToken": "x"}')
    assert answer.status == 403
    assert "worker refreshes" in answer.json["message"]
    rig.request("/api/queue/v1/x")
    assert 'id="task-client/T"' in (rig.taskcluster.requests[-1].one("authorization") or "")


def test_errors_of_the_proxy_have_the_form_of_taskclusters(rig: Rig) -> None:
    answer = rig.request("/nothing")
    assert (answer.status, answer.one("Content-Type")) == (404, "application/json")
    assert set(answer.json) == {"code", "message"}
    assert rig.request("/169.254.169.254/latest").status == 403


def test_a_broken_chunked_body_is_not_passed_off_as_whole(rig: Rig) -> None:
    taskcluster: SimulatedTaskcluster = rig.taskcluster
    completed: list[bytes] = []

    def script(peer: Peer, request: Received) -> bool:
        completed.append(peer.read_body(request))
        return False

    taskcluster.next(script)
    answer = rig.raw(
        b"POST /api/queue/v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"Connection: close" in answer
    assert completed == [], "Taskcluster saw a connection cut within the body"
