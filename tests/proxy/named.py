"""A container before a proxy that has every kind of named upstream, all of them simulated."""

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxy.containers import Pair
from proxy.upstream import Peer, Received, SimulatedTaskcluster
from simulators.balrog import Balrog
from simulators.device_cloud import DeviceCloud
from simulators.releng import RelengApi, TokenService

BALROG_SCOPE = "docker-worker:feature:balrogVPNProxy"
STAGE_SCOPE = "docker-worker:feature:balrogStageVPNProxy"
RELENG_SCOPE = "docker-worker:relengapi-proxy:tooltool.download.internal"
EVERYTHING = "taskcluster balrogVPNProxy relengAPIProxy testdroidProxy"


@dataclass
class Named:
    """The two containers before a proxy that has all upstreams; `stage` misbehaves by script."""

    pair: Pair
    balrog: Balrog
    stage: SimulatedTaskcluster
    tokens: TokenService
    tooltool: RelengApi
    cloud: DeviceCloud
    run: str = "alice/0"

    def ask(self, url: str, method: str = "GET", body: bytes = b"", fields: Sequence[str] = ()) -> bytes:
        """What container A gets for ``host/path``."""
        host, _, path = url.partition("/")
        head = [f"{method} /{path} HTTP/1.1", f"Host: {host}", "Connection: close", *fields]
        head += [f"Content-Length: {len(body)}"] if body else []
        request = "\r\n".join([*head, "", ""]).encode() + body
        return self.pair.ask(self.pair.a, self.pair.network_a.gateway, request)

    def allow(self, upstreams: str, *scopes: str) -> None:
        """Container A is another run from now on, so that nothing of the one before is remembered."""
        self.run = f"alice{secrets.token_hex(4)}/0"
        self.pair.give(self.pair.network_a, self.run, upstreams)
        self.pair.rig.store_credentials(self.run, "task-client/alice", scopes)

    def devices(self) -> dict[str, object]:
        with self.pair.rig.redis.client as client:
            held: dict[Any, Any] = client.hgetall("tw:devices")
        return {key.decode(): json.loads(text) for key, text in held.items()}


def content(answer: bytes) -> dict[str, object]:
    parsed = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert isinstance(parsed, dict)
    return parsed


def hang(_peer: Peer, _request: Received) -> bool:
    time.sleep(0.6)  # longer than the time limits of those who ask it
    return False
