"""What is tried again, and what is not."""

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from proxy.rig import RedisServer, Rig, running_proxy
from proxy.upstream import Peer, Received, cut, raw, reply, simulated_taskcluster
from simulators.patience import until


@pytest.mark.parametrize("status", ["500 Oops", "502 Bad Gateway", "503 Busy", "429 Too Many"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_passing_trouble_is_hidden_from_idempotent_calls(rig: Rig, status: str, method: str) -> None:
    rig.taskcluster.next(reply(b"x", status))
    assert rig.request("/api/queue/v1/x", method, b"body").status == 200
    assert [request.body for request in rig.taskcluster.requests] == [b"body", b"body"]


def test_every_try_is_signed_anew(rig: Rig) -> None:
    rig.taskcluster.next(reply(b"x", "500 Oops"))
    rig.request("/api/queue/v1/x")
    first, second = (request.one("authorization") for request in rig.taskcluster.requests)
    assert first != second


def test_a_lasting_trouble_ends_with_taskclusters_own_answer(rig: Rig) -> None:
    rig.taskcluster.default = reply(b'{"code": "Theirs"}', "503 Busy")
    answer = rig.request("/api/queue/v1/x")
    assert (answer.status, answer.body) == (503, b'{"code": "Theirs"}')
    assert 2 <= len(rig.taskcluster.requests) <= 10


def test_a_retry_after_beyond_the_limit_is_not_waited_for(rig: Rig) -> None:
    rig.taskcluster.next(reply(b"later", "503 Busy", "Retry-After: 3600\r\n"))
    started = time.monotonic()
    assert rig.request("/api/queue/v1/x").body == b"later"
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_call_that_may_have_had_an_effect_is_not_repeated(rig: Rig, method: str) -> None:
    rig.taskcluster.next(reply(b"x", "500 Oops"))
    assert rig.request("/api/queue/v1/x", method, b"{}").status == 500
    assert len(rig.taskcluster.requests) == 1


def test_a_post_on_a_new_connection_that_is_cut_is_not_repeated(rig: Rig) -> None:
    rig.taskcluster.close_connections()
    rig.taskcluster.next(cut)
    answer = rig.request("/api/queue/v1/x", "POST", b"{}")
    assert (answer.status, answer.json["code"]) == (502, "UpstreamUnavailable")
    assert len(rig.taskcluster.requests) == 1


def test_a_post_on_a_reused_connection_that_was_dead_is_sent_again_at_once(rig: Rig) -> None:
    rig.request("/api/queue/v1/warm-up")
    rig.taskcluster.next(cut)
    assert rig.request("/api/queue/v1/x", "POST", b"{}").status == 200
    assert [request.body for request in rig.taskcluster.requests] == [b"", b"{}", b"{}"]


def test_connections_closed_while_idle_are_noticed(rig: Rig) -> None:
    rig.request("/api/queue/v1/warm-up")
    rig.taskcluster.close_connections()
    assert rig.request("/api/queue/v1/x", "POST", b"{}").status == 200
    assert len(rig.taskcluster.requests) == 2


def test_a_long_upload_is_sent_once(rig: Rig) -> None:
    rig.taskcluster.next(reply(b"x", "503 Busy"))
    assert rig.request("/api/queue/v1/x", "PUT", b"x" * 100_000).status == 503
    assert len(rig.taskcluster.requests) == 1


def test_nothing_is_repeated_once_the_answer_has_begun(rig: Rig) -> None:
    rig.taskcluster.next(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"))
    with rig.dial() as sock:
        sock.sendall(b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        try:
            while piece := sock.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
    assert answer.count(b"HTTP/1.1") == 1
    assert b"Content-Length: 100" in answer, "the task sees that the answer is incomplete"
    assert len(rig.taskcluster.requests) == 1


def test_a_cut_chunked_answer_is_not_completed(rig: Rig) -> None:
    rig.taskcluster.next(raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nonly\r\n"))
    answer = rig.raw(b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"only" in answer
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000,
    ],
)
def test_an_invalid_answer_becomes_a_clear_error(rig: Rig, answer: bytes) -> None:
    rig.taskcluster.next(raw(answer))
    received = rig.request("/api/queue/v1/x", "POST")
    assert (received.status, received.json["code"]) == (502, "UpstreamUnavailable")


def test_waiting_for_an_answer_ends_when_the_task_leaves(rig: Rig) -> None:
    left: list[float] = []

    def stall(peer: Peer, request: Received) -> bool:
        peer.sock.settimeout(10)
        assert peer.sock.recv(1) == b"", "the proxy closes its side"
        left.append(time.monotonic())
        return False

    rig.taskcluster.next(stall)
    sock = rig.dial()
    sock.sendall(b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
    rig.taskcluster.wait_for(1)
    closed_at = time.monotonic()
    sock.close()
    until(lambda: bool(left))
    assert left[0] - closed_at < 1.0


def test_a_task_that_closes_its_side_only_is_answered(rig: Rig) -> None:
    def late(peer: Peer, request: Received) -> bool:
        time.sleep(0.1)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        time.sleep(0.1)
        peer.send(b"x" * 1_000_000)
        return True

    rig.taskcluster.next(reply(status="503 Busy"), late)
    with rig.dial() as sock:
        sock.sendall(b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"\r\n\r\n" + b"x" * 1_000_000)


def test_a_task_that_closes_its_side_and_then_resets_is_noticed(rig: Rig) -> None:
    left = threading.Event()

    def stall(peer: Peer, request: Received) -> bool:
        peer.sock.settimeout(10)
        assert peer.sock.recv(1) == b"", "the proxy closes its side"
        left.set()
        return False

    rig.taskcluster.next(stall)
    sock = rig.dial()
    sock.sendall(b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
    sock.shutdown(socket.SHUT_WR)
    rig.taskcluster.wait_for(1)
    assert not left.wait(0.2)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    assert left.wait(5)


def test_trying_again_ends_when_the_task_leaves(redis_server: RedisServer) -> None:
    with (
        simulated_taskcluster() as taskcluster,
        running_proxy(redis_server, taskcluster, "retry_for_s = 15.0\n") as rig,
    ):
        taskcluster.default = reply(b"x", "500 Oops")
        sock = rig.dial()
        sock.sendall(b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
        taskcluster.wait_for(2)
        sock.close()
        given_up = b'taskward_proxy_requests_total{status="5xx"} 1\n'
        until(lambda: given_up in rig.status("/metrics").body, within_s=2)
        seen = len(taskcluster.requests)
        taskcluster.default = reply()
        assert rig.request("/api/queue/v1/y").status == 200
        assert [request.target for request in taskcluster.requests[seen:]] == ["/api/queue/v1/y"]


@pytest.fixture
def impatient_rig(redis_server: RedisServer) -> Iterator[Rig]:
    extra = "retry_for_s = 0.3\nupstream_timeout_s = 0.5\n"
    with simulated_taskcluster() as taskcluster, running_proxy(redis_server, taskcluster, extra) as rig:
        yield rig


def test_a_silent_taskcluster_ends_in_a_timeout(impatient_rig: Rig) -> None:
    def silent(peer: Peer, request: Received) -> bool:
        time.sleep(2)
        return False

    impatient_rig.taskcluster.next(silent)
    answer = impatient_rig.request("/api/queue/v1/x")
    assert (answer.status, answer.json["code"]) == (504, "UpstreamTimeout")


def test_an_absent_taskcluster_ends_in_a_clear_error(impatient_rig: Rig) -> None:
    impatient_rig.taskcluster.close()
    for method in ("GET", "POST"):
        answer = impatient_rig.request("/api/queue/v1/x", method, b"{}")
        assert (answer.status, answer.json["code"]) == (502, "UpstreamUnavailable")
        assert "cannot connect to http://127.0.0.1" in answer.json["message"]
