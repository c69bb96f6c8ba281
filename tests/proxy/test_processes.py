"""Stopping, and being killed."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from proxy.rig import RedisServer, Rig, running_proxy
from proxy.upstream import Peer, Received, simulated_taskcluster
from simulators.patience import until
from taskward.proxy.listener import task_listener


@pytest.fixture
def own_rig(redis_server: RedisServer) -> Iterator[Rig]:
    with simulated_taskcluster() as taskcluster, running_proxy(redis_server, taskcluster) as rig:
        yield rig


def slowly(peer: Peer, request: Received) -> bool:
    time.sleep(1.0)
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
    return True


def test_a_request_in_flight_is_finished_before_the_proxy_stops(own_rig: Rig) -> None:
    own_rig.taskcluster.next(slowly)
    sock = own_rig.dial()
    sock.sendall(b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
    own_rig.taskcluster.wait_for(1)
    own_rig.process.terminate()
    answer = b""
    while not answer.endswith(b"late"):
        piece = sock.recv(1000)
        assert piece, answer
        answer += piece
    sock.close()
    assert own_rig.process.wait(10) == 0


def test_silent_and_idle_connections_do_not_hold_up_the_end(own_rig: Rig) -> None:
    silent, unfinished = own_rig.dial(), own_rig.dial()
    unfinished.sendall(b"GET /api")
    idle = own_rig.connect()
    idle.request("GET", "/api/queue/v1/x")
    idle.getresponse().read()
    started = time.monotonic()
    own_rig.process.terminate()
    assert own_rig.process.wait(10) == 0
    assert time.monotonic() - started < 5
    silent.close()
    unfinished.close()
    idle.close()


def test_a_killed_worker_process_is_replaced(own_rig: Rig) -> None:
    os.kill(int(own_rig.worker.name), signal.SIGKILL)

    def served() -> bool:
        try:
            return own_rig.request("/api/queue/v1/x").status == 200
        except OSError:
            return False

    until(served, within_s=5)


def test_a_hangup_signal_replaces_the_worker_process_and_keeps_serving(own_rig: Rig) -> None:
    before = own_rig.worker
    own_rig.process.send_signal(signal.SIGHUP)
    until(lambda: not before.exists())
    assert own_rig.request("/api/queue/v1/x").status == 200


def test_nothing_of_a_killed_proxy_keeps_the_port(own_rig: Rig) -> None:
    own_rig.taskcluster.next(slowly)
    sock = own_rig.dial()
    sock.sendall(b"GET /api/queue/v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
    own_rig.taskcluster.wait_for(1)
    own_rig.process.kill()
    own_rig.process.wait(10)
    started = time.monotonic()
    task_listener(own_rig.port, "lo").close()
    assert time.monotonic() - started < 1.0, "the worker process dies with its parent"
