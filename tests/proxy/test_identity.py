"""Who may call, decided by the kernel's word about the peer and not by anything the peer says."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from proxy.rig import Rig
from taskward.proxy.peers import SocketOwners

ALICE, BOB = 65534, 65533

CALL = """
import os, sys, http.client
os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
connection = http.client.HTTPConnection(sys.argv[2], int(sys.argv[3]), timeout=10)
connection.request("GET", "/api/queue/v1/ping", headers={"X-Forwarded-For": "127.77.0.3"})
answer = connection.getresponse()
print(answer.status, len(answer.read()))
"""


def call_as(uid: int, address: str, port: int) -> int:
    done = subprocess.run(
        [sys.executable, "-c", CALL, str(uid), address, str(port)], capture_output=True, text=True, check=True
    )
    status, length = done.stdout.split()
    assert status == "200" or length == "0", "a stranger gets no information"
    return int(status)


@pytest.fixture
def two_tasks(rig: Rig) -> Iterator[Rig]:
    rig.give_address("127.77.1.1", "alice/0", ALICE)
    rig.give_address("127.77.1.2", "bob/0", BOB)
    rig.store_credentials("alice/0", "task-client/alice")
    rig.store_credentials("bob/0", "task-client/bob")
    yield rig
    rig.take_address("127.77.1.1")
    rig.take_address("127.77.1.2")


@pytest.mark.root
def test_each_task_is_served_at_its_own_address_with_its_own_credentials(two_tasks: Rig) -> None:
    assert call_as(ALICE, "127.77.1.1", two_tasks.port) == 200
    assert call_as(BOB, "127.77.1.2", two_tasks.port) == 200
    signatures = [request.one("authorization") or "" for request in two_tasks.taskcluster.requests]
    assert 'id="task-client/alice"' in signatures[0]
    assert 'id="task-client/bob"' in signatures[1]


@pytest.mark.root
@pytest.mark.parametrize(
    ("uid", "address"),
    [
        (ALICE, "127.77.1.2"),
        (BOB, "127.77.1.1"),
        (0, "127.77.1.1"),
        (0, "127.77.1.2"),
        (ALICE, "127.0.0.1"),
        (ALICE, "127.77.200.200"),
        (1, "127.77.1.1"),
    ],
)
def test_another_user_than_the_task_is_refused(two_tasks: Rig, uid: int, address: str) -> None:
    assert call_as(uid, address, two_tasks.port) == 403
    assert two_tasks.taskcluster.requests == []


def test_an_address_of_no_run_is_refused_without_reading_the_request(rig: Rig) -> None:
    answer = rig.raw(b"\x00\xff not even HTTP", address="127.77.9.9")
    assert answer == b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("uid", ["", "-1", "root", "0x0", "٠", "4294967295"])
def test_an_entry_with_a_strange_uid_opens_nothing(rig: Rig, uid: str) -> None:
    with rig.redis.client as client:
        client.hset("tw:peer:127.77.9.8", mapping={"taskId": "T", "runId": "0", "uid": uid})
    assert rig.request("/api/queue/v1/ping", address="127.77.9.8").status == 403


def test_an_entry_without_a_uid_opens_nothing(rig: Rig) -> None:
    with rig.redis.client as client:
        client.hset("tw:peer:127.77.9.7", mapping={"taskId": "T", "runId": "0"})
    assert rig.request("/api/queue/v1/ping", address="127.77.9.7").status == 403


def test_a_removed_entry_closes_the_door_for_open_connections_too(rig: Rig) -> None:
    rig.give_address("127.77.2.1", "T/0", os.getuid())
    connection = rig.connect("127.77.2.1")
    connection.request("GET", "/api/queue/v1/ping")
    assert connection.getresponse().read() == b"{}"
    rig.take_address("127.77.2.1")
    assert rig.request("/api/queue/v1/ping", address="127.77.2.1").status == 403, "a new connection: at once"
    time.sleep(1.05)  # the promise itself: an entry outlives its removal by a second at most
    connection.request("GET", "/api/queue/v1/ping")
    assert connection.getresponse().status == 403
    connection.close()


def test_a_connection_never_moves_on_to_the_next_run_at_its_address(rig: Rig) -> None:
    rig.give_address("127.77.2.2", "T/0", os.getuid())
    connection = rig.connect("127.77.2.2")
    connection.request("GET", "/api/queue/v1/ping")
    connection.getresponse().read()
    rig.give_address("127.77.2.2", "next/0", os.getuid())
    rig.store_credentials("next/0", "task-client/next")
    time.sleep(1.05)  # the promise itself, again
    connection.request("GET", "/api/queue/v1/ping")
    assert connection.getresponse().status == 403
    connection.close()
    assert rig.request("/api/queue/v1/ping", address="127.77.2.2").status == 200
    assert 'id="task-client/next"' in (rig.taskcluster.requests[-1].one("authorization") or "")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The accepted end and the calling end of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        caller = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with caller, accepted:
            yield accepted, caller


def test_the_kernel_names_the_owner_of_the_other_end(pair: tuple[socket.socket, socket.socket]) -> None:
    owners = SocketOwners()
    assert owners.uid_of_peer(pair[0]) == os.getuid()
    owners.close()


def test_a_socket_for_both_families_has_its_owner_too() -> None:
    """Java's sockets are of IPv6 and connect to ::ffff:127.0.0.1."""
    owners = SocketOwners()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_INET6) as caller:
        caller.connect(("::ffff:127.0.0.1", listener.getsockname()[1]))
        accepted, _ = listener.accept()
        with accepted:
            assert owners.uid_of_peer(accepted) == os.getuid()
    owners.close()


def test_an_orphaned_connection_does_not_pass_for_root(pair: tuple[socket.socket, socket.socket]) -> None:
    accepted, caller = pair
    owners = SocketOwners()
    caller.close()  # the kernel now reports uid 0 for what is left of it
    assert owners.uid_of_peer(accepted) is None
    owners.close()


def test_a_half_closed_connection_still_has_its_owner(pair: tuple[socket.socket, socket.socket]) -> None:
    accepted, caller = pair
    owners = SocketOwners()
    caller.shutdown(socket.SHUT_WR)
    assert owners.uid_of_peer(accepted) == os.getuid()
    owners.close()
