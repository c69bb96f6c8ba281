"""Has the task gone, or does it only ask no more? What its connection tells."""

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from proxy.containers import TASKCLUSTER, Pair, status
from proxy.rig import Rig
from proxy.upstream import Peer, Received
from taskward.proxy.caller import Container, User
from taskward.proxy.connection import TaskSocket

NATIVE = User(0)
CONTAINER = Container("127.0.0.1", "lo")


class Connected:
    """Both ends of a connection over TCP."""

    def __init__(self, caller: User | Container) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.task = socket.create_connection(server.getsockname())
            self.ours = TaskSocket(server.accept()[0], caller)

    def reset(self) -> None:
        self.task.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.task.close()


@pytest.fixture(params=[NATIVE, CONTAINER], ids=["native", "container"])
def connected(request: pytest.FixtureRequest) -> Iterator[Connected]:
    made = Connected(request.param)
    yield made
    made.task.close()
    made.ours.close()


def test_one_that_says_nothing_has_not_left(connected: Connected) -> None:
    assert not connected.ours.leaves_within(0.05)


def test_one_that_closes_its_side_only_has_not_left(connected: Connected) -> None:
    connected.task.shutdown(socket.SHUT_WR)
    assert not connected.ours.leaves_within(0.05)
    assert not connected.ours.leaves_within(0.05), "nor does it have a moment later"


def test_one_that_resets_has_left_whatever_it_did_before(connected: Connected) -> None:
    connected.task.shutdown(socket.SHUT_WR)
    assert not connected.ours.leaves_within(0.05)
    connected.reset()
    assert connected.ours.leaves_within(5)


def test_a_native_one_that_closes_has_left_at_once() -> None:
    connected = Connected(NATIVE)
    connected.task.close()
    assert connected.ours.leaves_within(5)
    connected.ours.close()


def test_whether_a_container_that_closed_is_there_is_asked_within_two_minutes() -> None:
    connected = Connected(CONTAINER)
    connected.task.close()
    assert not connected.ours.leaves_within(0.05)
    idle, interval, count = (
        connected.ours.getsockopt(socket.IPPROTO_TCP, option)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    )
    assert connected.ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert idle + interval * count <= 120
    connected.ours.close()


def test_an_upload_is_whole_after_which_the_task_asks_no_more(rig: Rig) -> None:
    for framing in (b"Content-Length: 200000\r\n\r\n%b", b"Transfer-Encoding: chunked\r\n\r\n30d40\r\n%b\r\n0\r\n\r\n"):
        with rig.dial() as sock:
            sock.sendall(b"PUT /api/queue/v1/x HTTP/1.1\r\nHost: x\r\n" + framing % (b"x" * 200_000))
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    assert [request.body for request in rig.taskcluster.requests] == [b"x" * 200_000] * 2


@pytest.mark.root
def test_a_container_that_asks_no_more_is_answered(pair: Pair) -> None:
    asks_no_more = threading.Event()

    def late(peer: Peer, request: Received) -> bool:
        assert asks_no_more.wait(10)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True

    pair.rig.taskcluster.next(late)
    with pair.a.dial(pair.network_a.gateway, pair.port) as sock:
        sock.sendall(TASKCLUSTER)
        sock.shutdown(socket.SHUT_WR)
        asks_no_more.set()
        assert status(sock.recv(1000)) == 200
