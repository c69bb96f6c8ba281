"""Readers that close their side after the request (``shutdown(SHUT_WR)``): they ask no more, and read on."""

import os
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from gateway.rig import Gateway, Reader, TaskLog, eventually
from gateway.test_many_readers import cpu_s
from simulators.redis import RedisServer
from taskward.gateway import connection

BIG = os.urandom(1 << 20) * 20


@pytest.fixture(scope="module")
def gateway(redis_server: RedisServer) -> Iterator[Gateway]:
    """Of these tests alone: they count its readers."""
    process = Gateway(redis_server).start()
    yield process
    process.remove()


def silent_reader(gateway: Gateway, log: TaskLog, query: str = "", **headers: str) -> Reader:
    reader = gateway.read(log, query, **headers)
    reader.sock.shutdown(socket.SHUT_WR)
    return reader


@pytest.mark.parametrize(("query", "headers"), [("", {}), ("?follow=0", {}), ("", {"Range": "bytes=0-99999999"})])
def test_whoever_asks_no_more_gets_the_whole_log(gateway: Gateway, query: str, headers: dict[str, str]) -> None:
    log = gateway.log()
    log.write(BIG)
    log.finish()
    with silent_reader(gateway, log, query, **headers) as reader:
        assert reader.head()[0] in {200, 206}
        assert reader.rest() == BIG
        assert reader.complete


def test_whoever_asks_no_more_follows_a_running_task(gateway: Gateway) -> None:
    log = gateway.log()
    with silent_reader(gateway, log) as reader:
        reader.head()
        for number in range(3):
            log.write(b"line %d\n" % number)
            assert reader.some(7) == b"line %d\n" % number
        log.finish()
        assert reader.rest() == b""
        assert reader.complete


def test_whoever_asks_no_more_hears_what_is_wrong(gateway: Gateway) -> None:
    with Reader(gateway.port, "/log/wrong") as reader:
        reader.sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * 1000)
        reader.sock.shutdown(socket.SHUT_WR)
        assert reader.head()[0] == 401
        assert reader.rest() == b"Access denied"


def test_readers_that_ask_no_more_cost_no_time(gateway: Gateway) -> None:
    log = gateway.log()
    readers = [silent_reader(gateway, log) for _ in range(20)]
    for reader in readers:
        reader.head()
    eventually(lambda: gateway.metric("readers_half_closed") == 20)
    before = cpu_s(gateway.worker_pid)
    time.sleep(0.5)
    assert cpu_s(gateway.worker_pid) - before < 0.15
    for reader in readers:
        reader.sock.close()
    log.finish()
    eventually(lambda: gateway.metric("readers") == 0)


def test_reader_that_has_gone_is_noticed_when_the_log_grows(gateway: Gateway) -> None:
    log = gateway.log()
    with gateway.read(log) as reader:
        reader.head()
    eventually(lambda: gateway.metric("readers_half_closed") == 1)
    log.write(b"line\n")  # answered with a reset
    eventually(lambda: gateway.metric("readers") == 0)


def test_reader_that_resets_its_connection_is_noticed_at_once(gateway: Gateway) -> None:
    log = gateway.log()
    reader = silent_reader(gateway, log)
    reader.head()
    eventually(lambda: gateway.metric("readers_half_closed") == 1)
    reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reader.sock.close()
    eventually(lambda: gateway.metric("readers") == 0)


def test_whether_a_silent_peer_is_still_there_is_asked_within_two_minutes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        connection.prepare(sock)
        connection.doubt(sock)
        first, interval, count = (
            sock.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert first + interval * count <= 120
