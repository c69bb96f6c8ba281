"""Which container may call what: decided by the network it is on, whatever it writes into its packets or requests."""

import http.client
import os
import re
import socket
import time
from collections.abc import Iterator

import pytest

from proxy.containers import TASKCLUSTER, Pair, status, talk
from proxy.rig import Rig, running_proxy
from simulators.forger import ACK, PUSH, Forger
from simulators.networks import Network, Networks, ip
from simulators.patience import until

pytestmark = pytest.mark.root

NOTHING = (b"", b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")


def refused(rig: Rig) -> int:
    metrics = rig.status("/metrics").body.decode()
    return int(re.findall(r"^taskward_proxy_refused_total (\d+)$", metrics, re.MULTILINE)[0])


def test_each_container_is_served_at_its_own_gateway_with_its_own_credentials(pair: Pair) -> None:
    assert status(pair.ask(pair.a, pair.network_a.gateway)) == 200
    assert status(pair.ask(pair.b, pair.network_b.gateway)) == 200
    assert pair.identities == ["task-client/alice", "task-client/bob"]


def test_both_styles_of_url_and_bewit_work_and_credentials_stay_ours(pair: Pair) -> None:
    for path, expected in (
        ("/api/queue/v1/task/x", 200),
        ("/queue/v1/task/x", 200),
        ("/index/v1/task/x", 200),
        ("/credentials", 403),
        ("/elsewhere.example.com/x", 403),
    ):
        request = TASKCLUSTER.replace(b"/api/queue/v1/ping", path.encode())
        assert status(pair.ask(pair.a, pair.network_a.gateway, request)) == expected, path
    url = b"/api/queue/v1/task/x/artifacts/public/y"
    bewit = b"POST /bewit HTTP/1.1\r\nHost: taskcluster\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    assert status(pair.ask(pair.a, pair.network_a.gateway, bewit % (len(url), url))) == 303


@pytest.mark.parametrize("host", ["taskcluster", "Taskcluster:80", "taskcluster.", "{gateway}", "{gateway}:80", ""])
def test_taskcluster_has_these_names(pair: Pair, host: str) -> None:
    named = host.format(gateway=pair.network_a.gateway)
    answer = pair.ask(
        pair.a, pair.network_a.gateway, TASKCLUSTER.replace(b"Host: taskcluster", f"Host: {named}".encode())
    )
    assert status(answer) == 200


@pytest.mark.parametrize(
    "host",
    ["balrog", "queue.taskcluster.net", "127.77.0.1", "127.0.0.1", "localhost", "taskcluster@evil", "taskcluster,x",
     "taskcluster.evil", "xtaskcluster", "{other}", "[::1]", "%74askcluster", "taskcluster\t#", "balrog:80"],
)  # fmt: skip
def test_a_host_that_the_run_does_not_have_leads_nowhere(pair: Pair, host: str) -> None:
    named = host.format(other=pair.network_b.gateway)
    answer = pair.ask(
        pair.a, pair.network_a.gateway, TASKCLUSTER.replace(b"Host: taskcluster", f"Host: {named}".encode())
    )
    assert status(answer) == 404
    assert b"it has: http://taskcluster." in answer
    assert pair.rig.taskcluster.requests == []


def test_the_absolute_form_counts_more_than_the_host_field(pair: Pair) -> None:
    absolute = TASKCLUSTER.replace(b"GET /", b"GET http://balrog/")
    assert status(pair.ask(pair.a, pair.network_a.gateway, absolute)) == 404
    assert status(pair.ask(pair.a, pair.network_a.gateway, absolute.replace(b"balrog", b"taskcluster"))) == 200


def test_two_host_fields_lead_nowhere(pair: Pair) -> None:
    twice = TASKCLUSTER.replace(b"Host: ", b"Host: taskcluster\r\nHost: ")
    assert status(pair.ask(pair.a, pair.network_a.gateway, twice)) in (400, 404)
    assert pair.rig.taskcluster.requests == []


def test_a_run_without_taskcluster_proxy_does_not_reach_taskcluster(pair: Pair) -> None:
    pair.give(pair.network_a, "alice/0", "")
    for host in (b"taskcluster", pair.network_a.gateway.encode(), b""):
        assert status(pair.ask(pair.a, pair.network_a.gateway, TASKCLUSTER.replace(b"taskcluster", host))) == 404
    assert pair.rig.taskcluster.requests == []


def test_a_container_gets_nothing_at_the_gateway_of_another(pair: Pair) -> None:
    assert pair.ask(pair.b, pair.network_a.gateway) in NOTHING
    assert pair.ask(pair.a, pair.network_b.gateway) in NOTHING
    assert pair.rig.taskcluster.requests == []


def test_a_forged_connection_gets_nothing_even_if_the_forger_sees_the_answers(pair: Pair) -> None:
    """With raw sockets, and with somebody who tells it the sequence numbers, B completes a handshake as A."""
    before = refused(pair.rig)
    with Forger(pair.b, pair.network_a, pair.port) as forger:
        forger.shake_hands()
        forger.send(ACK | PUSH, TASKCLUSTER)
        until(lambda: refused(pair.rig) > before)
        assert b"".join(forger.answers(0.2)) == b""
    assert pair.rig.taskcluster.requests == []


def test_a_process_of_the_host_gets_nothing_at_a_gateway(pair: Pair) -> None:
    """Its packets have the gateway's own address, which lies in the subnet."""
    for source in ("", "127.77.0.1"):
        address = (source, 0) if source else None
        with socket.create_connection((pair.network_a.gateway, pair.port), 10, address) as sock:
            assert talk(sock, TASKCLUSTER) in NOTHING
    assert pair.rig.taskcluster.requests == []


def test_the_port_for_containers_serves_native_tasks_by_their_user_all_the_same(pair: Pair) -> None:
    with socket.create_connection(("127.77.9.77", pair.port), 10) as sock:
        assert talk(sock, TASKCLUSTER) in NOTHING


def test_a_container_that_takes_the_address_of_another_gets_nothing(pair: Pair) -> None:
    forged = pair.network_a.address(2)
    ip("-n", pair.b.name, "addr", "add", f"{forged}/32", "dev", "eth0")
    try:
        for gateway in (pair.network_a.gateway, pair.network_b.gateway):
            with pytest.raises(OSError):  # the answer to its first packet goes to the other, who did not ask
                pair.b.dial(gateway, pair.port, forged, timeout_s=0.5)
    finally:
        ip("-n", pair.b.name, "addr", "del", f"{forged}/32", "dev", "eth0")
    assert pair.rig.taskcluster.requests == []


@pytest.mark.parametrize("field", ["subnet", "gateway"])
@pytest.mark.parametrize("value", ["", "10.213.0.1/16", "x", "::/0", "10.0.0.0/33"])
def test_an_entry_with_strange_addresses_opens_nothing(pair: Pair, field: str, value: str) -> None:
    pair.give(pair.network_a, "alice/0", **{field: value})
    assert pair.ask(pair.a, pair.network_a.gateway) in NOTHING


def test_an_entry_for_a_user_and_a_network_at_once_opens_nothing(pair: Pair) -> None:
    pair.give(pair.network_a, "alice/0", uid=str(os.getuid()))
    assert pair.ask(pair.a, pair.network_a.gateway) in NOTHING


def test_an_entry_of_a_network_that_had_the_same_addresses_opens_nothing(pair: Pair) -> None:
    pair.give(pair.network_a, "alice/0", bridge="tw0123456789")
    assert pair.ask(pair.a, pair.network_a.gateway) in NOTHING


def test_an_address_outside_of_the_subnet_gets_nothing(pair: Pair) -> None:
    pair.give(pair.network_a, "alice/0", subnet=pair.network_b.subnet)
    assert pair.ask(pair.a, pair.network_a.gateway) in NOTHING


def test_an_entry_for_a_user_does_not_admit_a_container_at_that_address(pair: Pair) -> None:
    with pair.rig.redis.client as client:
        client.delete(f"tw:peer:{pair.network_a.gateway}")
    pair.rig.give_address(pair.network_a.gateway, "alice/0", 0)
    assert pair.ask(pair.a, pair.network_a.gateway) in NOTHING
    pair.rig.take_address(pair.network_a.gateway)


def test_a_kept_connection_does_not_move_on_to_the_next_run_on_the_network(pair: Pair) -> None:
    connection = http.client.HTTPConnection("taskcluster")
    connection.sock = pair.a.dial(pair.network_a.gateway, pair.port)
    connection.request("GET", "/api/queue/v1/ping")
    assert connection.getresponse().read() == b"{}"
    pair.give(pair.network_a, "carol/0")
    pair.rig.store_credentials("carol/0", "task-client/carol")
    time.sleep(1.05)  # the promise itself: an entry outlives its removal by a second at most
    connection.request("GET", "/api/queue/v1/ping")
    assert connection.getresponse().status == 403
    connection.close()
    assert status(pair.ask(pair.a, pair.network_a.gateway)) == 200
    assert pair.identities == ["task-client/alice", "task-client/carol"]


@pytest.fixture(scope="module")
def in_container(made: Pair, networks: Networks) -> Iterator[Pair]:
    """The proxy in a container that is on both networks, as it is in a cluster of containers."""
    home = networks.namespace(made.network_a, made.network_b, host=9)
    for network in (made.network_a, made.network_b):
        networks.let_talk(network)
    extra = "retry_for_s = 0.1\n"
    with running_proxy(made.rig.redis, made.rig.taskcluster, extra, 80, ("ip", "netns", "exec", home.name)) as rig:
        yield Pair(rig, 80, made.networks, made.network_a, made.network_b, made.a, made.b)


def at_own_address(pair: Pair, network: Network, run: str) -> str:
    address = network.address(9)
    task_id, run_id = run.split("/")
    entry = {"taskId": task_id, "runId": run_id, "subnet": network.subnet, "gateway": network.gateway}
    with pair.rig.redis.client as client:
        client.hset(f"tw:peer:{address}", mapping={**entry, "upstreams": "taskcluster"})
    pair.rig.store_credentials(run, f"task-client/{run}")
    return address


def test_a_proxy_in_a_container_tells_containers_apart_by_its_own_addresses(in_container: Pair) -> None:
    pair = in_container
    of_a = at_own_address(pair, pair.network_a, "alice/0")
    of_b = at_own_address(pair, pair.network_b, "bob/0")
    assert status(pair.ask(pair.a, of_a)) == 502, "admitted; Taskcluster cannot be reached from in there"
    assert status(pair.ask(pair.b, of_b)) == 502
    ip("-n", pair.b.name, "route", "replace", of_a, "via", of_b)
    try:
        assert pair.ask(pair.b, of_a) in NOTHING, "it came by the device of B's network"
    finally:
        ip("-n", pair.b.name, "route", "del", of_a)


def test_the_host_of_a_network_gets_nothing_from_a_proxy_in_a_container(in_container: Pair) -> None:
    address = at_own_address(in_container, in_container.network_a, "alice/0")
    with socket.create_connection((address, 80), 10) as sock:
        assert talk(sock, TASKCLUSTER) in NOTHING
