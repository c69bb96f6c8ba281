"""Two tasks in containers, each on a network of its own, before one proxy on their host."""

import socket
from dataclasses import dataclass
from typing import Any

from proxy.rig import Rig
from simulators.networks import Namespace, Network, Networks

TASKCLUSTER = b"GET /api/queue/v1/ping HTTP/1.1\r\nHost: taskcluster\r\nConnection: close\r\n\r\n"


@dataclass
class Pair:
    """Two tasks in containers, each on a network of its own, and the proxy on the host."""

    rig: Rig
    port: int
    networks: Networks
    network_a: Network
    network_b: Network
    a: Namespace
    b: Namespace

    def give(self, network: Network, run: str, upstreams: str = "taskcluster", **changed: str) -> None:
        task_id, run_id = run.split("/")
        entry: dict[Any, Any] = {
            "taskId": task_id,
            "runId": run_id,
            "subnet": network.subnet,
            "gateway": network.gateway,
        }
        entry |= {"bridge": network.bridge, "upstreams": upstreams, **changed}
        with self.rig.redis.client as client:
            client.delete(f"tw:peer:{network.gateway}")
            client.hset(f"tw:peer:{network.gateway}", mapping=entry)

    def ask(self, who: Namespace, gateway: str, request: bytes = TASKCLUSTER, source: str = "") -> bytes:
        return talk(who.dial(gateway, self.port, source), request)

    @property
    def identities(self) -> list[str]:
        signatures = [request.one("authorization") or "" for request in self.rig.taskcluster.requests]
        return [signature.partition('id="')[2].partition('"')[0] for signature in signatures]


def talk(sock: socket.socket, request: bytes) -> bytes:
    """Everything that comes back until the proxy closes."""
    answer = b""
    with sock:
        try:
            sock.sendall(request)
            while piece := sock.recv(65536):
                answer += piece
        except (ConnectionResetError, BrokenPipeError):
            return answer
    return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
