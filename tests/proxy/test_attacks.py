"""What a hostile task may try against Taskcluster, the proxy, and other tasks."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from proxy.rig import RedisServer, Rig, running_proxy
from proxy.upstream import Peer, Received, simulated_taskcluster
from simulators.patience import until
from taskward.proxy.head import MAX_HEAD_BYTES

HEAD = b"POST /api/queue/v1/x HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = b"GET /api/queue/v1/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "request_head",
    [
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
        HEAD + b"Content-Length: +5\r\n\r\nhello",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 0x5\r\n\r\nhello",
        HEAD + b"Content-Length: \xb2\r\n\r\nhello",
        HEAD + b"Content-Length: 5 \x0b\r\n\r\nhello",
        HEAD + b"Content-Length : 5\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: identity\r\n\r\n",
        HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n",
        HEAD + b"X: folded\r\n value\r\n\r\n",
        HEAD + b"X: a\nContent-Length: 5\r\n\r\nhello",
        HEAD + b"X: a\rY: b\r\n\r\n",
        HEAD + b"X: a\x00b\r\n\r\n",
        HEAD + b"No colon here\r\n\r\n",
        HEAD + b": empty\r\n\r\n",
        HEAD + b"Host: second\r\n\r\n",
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/queue/v1/x HTTP/1.1\nHost: x\n\n",
        b"POST  /api/queue/v1/x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/queue/v1/x\x0b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PO\x00ST /api/queue/v1/x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_ambiguous_requests_are_refused_and_end_the_connection(rig: Rig, request_head: bytes) -> None:
    answer = rig.raw(request_head + SMUGGLED)
    assert answer[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 501", b"HTTP/1.1 505"}
    assert answer.count(b"HTTP/1.1 ") == 1
    assert all("smuggled" not in request.target for request in rig.taskcluster.requests)
    assert all(request.body == b"" for request in rig.taskcluster.requests)


def test_a_header_cannot_be_split(rig: Rig) -> None:
    rig.raw(b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x\r\nX: a%0d%0aY: b\r\nConnection: close\r\n\r\n")
    assert rig.taskcluster.requests[0].one("x") == "a%0d%0aY: b"
    assert rig.taskcluster.requests[0].one("y") is None


def test_a_name_with_an_underscore_does_not_pass_for_one_with_a_dash(rig: Rig) -> None:
    rig.raw(
        b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x\r\nX_Forwarded_For: 1.2.3.4\r\nContent_Length: 5\r\n"
        b"SCRIPT_NAME: /api\r\nPATH_INFO: /bewit\r\nConnection: close\r\n\r\n"
    )
    sent = rig.taskcluster.requests[0]
    names = {name.lower() for name, _ in sent.fields}
    assert names <= {"host", "authorization"}


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /api/queue/v1/" + b"x" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x\r\nX: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"G" * (1 << 20),
        b"GET /" + b"\r" * (1 << 20),
    ],
    ids=["line", "field", "fields", "no line", "no end"],
)
def test_oversized_heads_are_refused(rig: Rig, request_bytes: bytes) -> None:
    assert rig.raw(request_bytes).startswith(b"HTTP/1.1 431")
    assert rig.taskcluster.requests == []


def test_what_follows_the_last_chunk_is_no_larger_than_a_head(rig: Rig) -> None:
    answer = rig.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * (1 << 20) + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")


def test_unfinished_heads_keep_nothing_of_their_own_task_waiting(rig: Rig) -> None:
    for start in (b"", b"G", b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x", b"GET /" + b"x" * 60_000):
        for _ in range(20):
            rig.dial().sendall(start)
    with rig.dial() as kept:
        kept.sendall(b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x\r\n\r\nGET /api/queue/v1/y HTT")
        assert kept.recv(1000).startswith(b"HTTP/1.1 200")
        started = time.monotonic()
        for _ in range(20):
            assert rig.request("/api/queue/v1/x").status == 200
        assert time.monotonic() - started < 2.0
        kept.sendall(b"P/1.1\r\nHost: x\r\n\r\n")
        assert kept.recv(1000).startswith(b"HTTP/1.1 200")
    assert rig.taskcluster.requests[-1].target == "/api/queue/v1/y"


def test_request_that_comes_byte_by_byte_is_served(rig: Rig) -> None:
    with rig.dial() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"\r\nPUT /api/queue/v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody":
            sock.sendall(bytes([byte]))
            time.sleep(0.001)
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    assert rig.taskcluster.requests[0].body == b"body"


def test_many_requests_in_one_piece_are_answered_in_their_order(rig: Rig) -> None:
    targets = [f"/api/queue/v1/{number}" for number in range(50)]
    piece = "".join(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n" for target in targets[:-1])
    answers = rig.raw(f"{piece}GET {targets[-1]} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answers.count(b"HTTP/1.1 200 OK") == 50
    assert [request.target for request in rig.taskcluster.requests] == targets


@pytest.fixture(scope="module")
def strict_rig(redis_server: RedisServer) -> Iterator[Rig]:
    extra = (
        "threads = 8\nrequests_per_task = 4\nconnections_per_user = 40\nhead_timeout_s = 0.5\nclient_timeout_s = 0.5\n"
    )
    with simulated_taskcluster() as taskcluster, running_proxy(redis_server, taskcluster, extra) as rig:
        yield rig


def test_a_head_that_trickles_in_is_cut_off(strict_rig: Rig) -> None:
    sock = strict_rig.dial()
    started = time.monotonic()
    try:
        for byte in b"GET /api/queue/v1/x HTTP/1.1\r\n" + b"X: y\r\n" * 90:
            sock.sendall(bytes([byte]))
            time.sleep(0.02)
    except OSError:
        pass
    assert time.monotonic() - started < 3


def test_a_head_without_an_end_is_told_that_it_takes_too_long(strict_rig: Rig) -> None:
    started = time.monotonic()
    assert strict_rig.raw(b"GET /api/queue/v1/x HTTP/1.1\r\nX: y").startswith(b"HTTP/1.1 408")
    assert 0.4 < time.monotonic() - started < 3
    until(lambda: b"taskward_proxy_connections 1\n" in strict_rig.status("/metrics").body)


def test_a_body_that_stalls_is_cut_off_here_and_at_taskcluster(strict_rig: Rig) -> None:
    ended: list[bytes] = []

    def script(peer: Peer, request: Received) -> bool:
        ended.append(peer.file.read())
        return False

    strict_rig.taskcluster.next(script)
    sock = strict_rig.dial()
    sock.sendall(b"PUT /api/queue/v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nsome")
    until(lambda: bool(ended), within_s=3)
    assert ended == [b"some"]


HOSTILE = """
import os, socket, sys, time
os.setgid(65534); os.setuid(65534)
address, port, what = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode().decode("unicode_escape").encode()
socks = []
for number in range(200):
    try:
        sock = socket.create_connection((address, port), timeout=1)
        sock.sendall(what)
    except OSError:
        continue
    socks.append(sock)
print("ready", flush=True)
time.sleep(30)
"""


@pytest.mark.root
@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.77.6.1", "GET /api/queue/v1/stall HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"),
        ("127.77.6.1", "GET /api/que"),
        ("127.77.6.1", ""),
        ("127.77.6.1", "PUT /api/queue/v1/x HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 99999999\\r\\n\\r\\n"),
        ("127.77.0.1", "GET /api/queue/v1/x HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"),
        ("127.99.9.9", "GET /api/que"),
    ],
    ids=["stalled answers", "half heads", "silent", "stalled bodies", "another's address", "nobody's address"],
)
def test_a_hostile_task_does_not_starve_another(strict_rig: Rig, address: str, what: str) -> None:
    release = threading.Event()

    def answer(peer: Peer, request: Received) -> bool:
        if request.target.endswith("stall"):
            release.wait(20)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True

    strict_rig.taskcluster.default = answer
    strict_rig.give_address("127.77.6.1", "hostile/0", 65534)
    strict_rig.store_credentials("hostile/0", "task-client/hostile")
    command = [sys.executable, "-c", HOSTILE, address, str(strict_rig.port), what]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as hostile:
        try:
            assert hostile.stdout is not None
            assert hostile.stdout.readline() == b"ready\n"
            slowest_s = 0.0
            for _ in range(10):
                started = time.monotonic()
                assert strict_rig.request("/api/queue/v1/x").status == 200
                slowest_s = max(slowest_s, time.monotonic() - started)
            assert slowest_s < 2.0
        finally:
            release.set()
            hostile.kill()


def test_a_reader_that_never_closes_does_not_stop_the_accepting_thread(strict_rig: Rig) -> None:
    for _ in range(3):
        sock = strict_rig.dial()
        sock.sendall(b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert sock.recv(1000)
    started = time.monotonic()
    assert strict_rig.request("/api/queue/v1/x").status == 200
    assert time.monotonic() - started < 0.5


def test_closed_connections_are_not_counted_for_ever(strict_rig: Rig) -> None:
    for _ in range(3):
        for sock in [strict_rig.dial() for _ in range(30)]:
            sock.close()
        until(lambda: strict_rig.request("/api/queue/v1/x").status == 200)
    for _ in range(60):
        assert strict_rig.request("/api/queue/v1/x").status == 200
    until(lambda: b"taskward_proxy_connections 1\n" in strict_rig.status("/metrics").body)


def test_the_log_holds_no_secret(rig: Rig) -> None:
    rig.request("/api/queue/v1/x")
    rig.raw(b"nonsense\r\n\r\n")
    rig.request("/api/queue/v1/x", address="127.77.9.1")
    text = (rig.folder / "log").read_text()
    assert "not-a-secret-token" not in text
    assert "refused a connection: no run owns 127.77." in text


def test_every_line_of_the_log_is_one_json_object(rig: Rig) -> None:
    rig.raw(b"GET /a\x0b2026 FORGED HTTP/1.1\r\nHost: \x1b[31m\r\n\r\n")
    rig.request("/api/queue/v1/x", address="127.77.9.4")
    lines = [json.loads(line) for line in (rig.folder / "log").read_text().splitlines()]
    assert lines
    assert {line["role"] for line in lines} == {"proxy"}
    assert all(line["event"].isprintable() for line in lines)


def test_strangers_do_not_fill_the_log(rig: Rig) -> None:
    before = (rig.folder / "log").stat().st_size
    for _ in range(200):
        rig.raw(b"x", address="127.77.9.2")
        rig.raw(b"nonsense\r\n\r\n")
    assert (rig.folder / "log").stat().st_size - before < 2000


def test_no_descriptor_is_left_behind(rig: Rig) -> None:
    folder = rig.worker / "fd"

    def descriptors() -> int:
        return len(list(folder.iterdir()))

    def one_of_each() -> int:
        rig.request("/api/queue/v1/x")
        rig.request("/nothing")
        rig.raw(b"x", address="127.77.9.3")
        rig.raw(b"nonsense\r\n\r\n")
        rig.dial().close()
        return descriptors()

    one_of_each()
    before = one_of_each()
    for _ in range(20):
        one_of_each()
    until(lambda: descriptors() <= before + 2)


def test_the_port_does_not_answer_on_ipv6(rig: Rig) -> None:
    with pytest.raises(OSError), socket.create_connection(("::1", rig.port), timeout=1):
        pass
