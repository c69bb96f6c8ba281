"""Big bodies pass through in both directions with the same bytes and in constant memory."""

import hashlib
import http.client
import time

import pytest

from proxy.rig import Rig
from proxy.upstream import Peer, Received

MIB = 1 << 20
BLOCK = bytes(range(256)) * (MIB // 256)
SIZES = [pytest.param(64, id="64 MiB"), pytest.param(1024, id="1 GiB", marks=pytest.mark.slow)]


def expected(size_mib: int) -> str:
    digest = hashlib.sha256()
    for _ in range(size_mib):
        digest.update(BLOCK)
    return digest.hexdigest()


def peak_growth_bytes(rig: Rig, before: int) -> int:
    return rig.rss_bytes(peak=True) - before


@pytest.mark.parametrize("size_mib", SIZES)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_download_is_whole_and_takes_no_memory(rig: Rig, size_mib: int, chunked: bool) -> None:
    def serve(peer: Peer, request: Received) -> bool:
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size_mib * MIB}"
        peer.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        for _ in range(size_mib):
            peer.send(b"%x\r\n%b\r\n" % (MIB, BLOCK) if chunked else BLOCK)
        if chunked:
            peer.send(b"0\r\n\r\n")
        return True

    rig.request("/api/queue/v1/warm-up")
    before = rig.rss_bytes(peak=True)
    rig.taskcluster.next(serve)
    connection = rig.connect()
    connection.request("GET", "/api/queue/v1/x")
    response = connection.getresponse()
    assert digest_of(response) == expected(size_mib)
    connection.close()
    assert peak_growth_bytes(rig, before) < 24 * MIB


def digest_of(response: http.client.HTTPResponse) -> str:
    digest = hashlib.sha256()
    while piece := response.read(MIB):
        digest.update(piece)
    return digest.hexdigest()


@pytest.mark.parametrize("size_mib", SIZES)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_an_upload_is_whole_and_takes_no_memory(rig: Rig, size_mib: int, chunked: bool) -> None:
    received: list[str] = []

    def sink(peer: Peer, request: Received) -> bool:
        digest = hashlib.sha256()
        if chunked:
            for piece in peer._chunks():
                digest.update(piece)
        else:
            left = size_mib * MIB
            while left:
                piece = peer.file.read(min(left, MIB))
                left -= len(piece)
                digest.update(piece)
        received.append(digest.hexdigest())
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True

    rig.request("/api/queue/v1/warm-up")
    before = rig.rss_bytes(peak=True)
    rig.taskcluster.next(sink)
    connection = rig.connect()
    headers = {} if chunked else {"Content-Length": str(size_mib * MIB)}
    if chunked:
        headers["Transfer-Encoding"] = "chunked"
    connection.request(
        "PUT", "/api/queue/v1/x", (BLOCK for _ in range(size_mib)), headers=headers, encode_chunked=chunked
    )
    assert connection.getresponse().read() == b"ok"
    assert received == [expected(size_mib)]
    connection.request("GET", "/api/queue/v1/after")
    assert connection.getresponse().read() == b"{}", "the connection is in step after a long body"
    connection.close()
    assert peak_growth_bytes(rig, before) < 24 * MIB


def test_an_upload_goes_out_while_it_comes_in(rig: Rig) -> None:
    arrived: list[float] = []

    def note(peer: Peer, request: Received) -> bool:
        for size in (70_000, 30_000):
            peer.file.read(size)
            arrived.append(time.monotonic())
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True

    rig.taskcluster.next(note)
    with rig.dial() as sock:
        sock.sendall(b"PUT /api/queue/v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"a" * 70_000)
        time.sleep(0.4)
        sock.sendall(b"b" * 30_000)
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
    assert arrived[1] - arrived[0] > 0.3


def test_a_slow_reader_gets_everything(rig: Rig) -> None:
    def serve(peer: Peer, request: Received) -> bool:
        peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {16 * MIB}\r\n\r\n".encode())
        for _ in range(16):
            peer.send(BLOCK)
        return True

    rig.taskcluster.next(serve)
    connection = rig.connect()
    connection.request("GET", "/api/queue/v1/x")
    response = connection.getresponse()
    digest = hashlib.sha256()
    for _ in range(16):
        digest.update(response.read(MIB))
        time.sleep(0.02)
    connection.close()
    assert digest.hexdigest() == expected(16)
