"""The newest credentials are used at once, and Redis may come and go."""

import json
import os
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from proxy.rig import RedisServer, Rig, running_proxy, running_redis
from proxy.upstream import Peer, Received, simulated_taskcluster
from simulators.patience import until
from taskward.proxy import credentials
from taskward.proxy.errors import RequestError, StoreUnavailable
from taskward.proxy.routes import RootUrl
from taskward.proxy.store import Store

ROOT = RootUrl.parse("https://tc.example.com")
CERTIFICATE = json.dumps({"version": 1, "expiry": 4102444800000, "scopes": ["a"]})


def stored(client_id: str = "c", **other: object) -> bytes:
    values = {
        "clientId": client_id,
        "accessToken": "secret-token",
        "certificate": CERTIFICATE,
        "takenUntil": "2100-01-01T00:00:00.000Z",
        "authorizedScopes": ["a:b"],
    }
    return json.dumps({**values, **other}).encode()


class FakeStore(Store):
    """Holds what Redis would; `down` makes it unavailable."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.down = False
        self.asked = 0

    def credentials(self, run_key: str) -> bytes | None:
        self.asked += 1
        if self.down:
            raise StoreUnavailable("down")
        return self.values.get(run_key)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def store() -> FakeStore:
    fake = FakeStore()
    fake.values["T/0"] = stored("old")
    return fake


def test_credentials_are_read_from_redis_once_per_second_at_most(store: FakeStore) -> None:
    clock = Clock()
    vault = credentials.Vault(store, ROOT, clock)
    for _ in range(100):
        vault.get("T/0")
    assert store.asked == 1
    clock.now_s = 1.1
    vault.get("T/0")
    assert store.asked == 2


def test_a_lost_message_is_made_up_for_within_a_second(store: FakeStore) -> None:
    clock = Clock()
    vault = credentials.Vault(store, ROOT, clock)
    vault.get("T/0")
    store.values["T/0"] = stored("new")
    clock.now_s = 1.1
    assert vault.get("T/0").signer.client_id == "new"


def test_word_of_new_credentials_takes_effect_at_once(store: FakeStore) -> None:
    vault = credentials.Vault(store, ROOT, Clock())
    vault.get("T/0")
    store.values["T/0"] = stored("new")
    vault.changed("T/0")
    assert vault.get("T/0").signer.client_id == "new"


def test_word_of_runs_that_never_called_is_ignored(store: FakeStore) -> None:
    vault = credentials.Vault(store, ROOT, Clock())
    vault.changed("U/0")
    assert (store.asked, len(vault)) == (0, 0)


def test_while_redis_is_away_the_known_ones_go_on(store: FakeStore) -> None:
    clock = Clock()
    vault = credentials.Vault(store, ROOT, clock)
    vault.get("T/0")
    store.down = True
    clock.now_s = 1000.0
    assert vault.get("T/0").signer.client_id == "old"
    with pytest.raises(RequestError) as caught:
        vault.get("U/0")
    assert caught.value.status == 503


def test_removed_credentials_are_forgotten(store: FakeStore) -> None:
    clock = Clock()
    vault = credentials.Vault(store, ROOT, clock)
    vault.get("T/0")
    del store.values["T/0"]
    clock.now_s = 1.1
    with pytest.raises(RequestError):
        vault.get("T/0")
    assert len(vault) == 0


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b"\xff",
        stored(certificate="{"),
        stored(certificate="[]"),
        stored(takenUntil="soon"),
        stored(clientId='a"b'),
        stored(clientId=5),
        stored(accessToken=None),
        stored(authorizedScopes="a:b"),
        stored(authorizedScopes=None),
        stored(authorizedScopes=[5]),
    ],
)
def test_unusable_credentials_are_an_error_without_secrets(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(?!.*secret-token)"):
        credentials.parse(text, ROOT)


def test_they_end_with_the_certificate_or_the_claim() -> None:
    early = json.dumps({"expiry": 1000, "scopes": []})
    assert credentials.parse(stored(certificate=early), ROOT).expires.timestamp() == 1
    assert credentials.parse(stored(takenUntil="2050-01-01T00:00:00Z"), ROOT).expires.year == 2050


def test_too_many_scopes_are_an_error_with_a_remedy() -> None:
    many = [f"project:some-long-name:of-a-scope:number-{number}" for number in range(80)]
    parsed = credentials.parse(stored(authorizedScopes=many), ROOT)
    with pytest.raises(RequestError, match=r"fewer or shorter scopes") as caught:
        parsed.authorization("GET", "/api/queue/v1/x")
    assert caught.value.status == 502
    assert "X-Taskcluster-Authorized-Scopes" not in dict(parsed.answer_headers)


def test_many_scopes_below_a_star_fit() -> None:
    many = [f"project:some-long-name:of-a-scope:number-{number}" for number in range(60)]
    parsed = credentials.parse(stored(authorizedScopes=[*many, "project:some-long-name:*"]), ROOT)
    assert len(parsed.authorization("GET", "/")) <= 4096


def test_temporary_credentials_are_named_so() -> None:
    certificate = json.dumps({"expiry": 4102444800000, "scopes": ["a:*", "\u00e9"]})
    headers = dict(credentials.parse(stored(certificate=certificate), ROOT).answer_headers)
    assert "X-Taskcluster-Proxy-Temp-ClientId" in headers
    assert headers["X-Taskcluster-Proxy-Temp-Scopes"] == '["a:*", "\\u00e9"]'


def test_scopes_that_would_not_fit_into_a_head_are_not_told() -> None:
    certificate = json.dumps({"expiry": 4102444800000, "scopes": ["project:name:*"] * 1000})
    headers = dict(credentials.parse(stored(certificate=certificate), ROOT).answer_headers)
    assert "X-Taskcluster-Proxy-Temp-Scopes" not in headers
    assert "X-Taskcluster-Authorized-Scopes" in headers


def test_new_credentials_apply_to_the_next_request(rig: Rig) -> None:
    connection = rig.connect()
    for number in range(20):
        rig.store_credentials("T/0", f"task-client/{number}")
        until(partial(_is_known, rig, f"client/{number}"), within_s=0.5)
    connection.close()


def _is_known(rig: Rig, client_id: str) -> bool:
    return client_id in _client_id(rig)


def _client_id(rig: Rig) -> str:
    rig.request("/api/queue/v1/x")
    return rig.taskcluster.requests[-1].one("authorization") or ""


def test_requests_in_flight_do_not_hold_new_credentials_up(rig: Rig) -> None:
    proceed = threading.Event()

    def stall(peer: Peer, request: Received) -> bool:
        proceed.wait(10)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True

    rig.taskcluster.next(stall, stall)
    stalled = [rig.dial(), rig.dial()]
    for sock in stalled:
        sock.sendall(b"GET /api/queue/v1/slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    rig.taskcluster.wait_for(2)
    rig.store_credentials("T/0", "task-client/new")
    until(lambda: "task-client/new" in _client_id(rig), within_s=0.5)
    proceed.set()
    for sock in stalled:
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.fixture
def own_redis_rig() -> Iterator[Rig]:
    with running_redis() as server, simulated_taskcluster() as taskcluster, running_proxy(server, taskcluster) as rig:
        yield rig


def test_a_task_goes_on_while_redis_restarts_and_then_gets_what_is_new(own_redis_rig: Rig) -> None:
    rig = own_redis_rig
    connection = rig.connect()
    connection.request("GET", "/api/queue/v1/x")
    connection.getresponse().read()
    rig.redis.stop()
    time.sleep(1.1)  # everything in memory is older than its age limit now
    for _ in range(3):
        started = time.monotonic()
        connection.request("GET", "/api/queue/v1/x")
        assert connection.getresponse().read() == b"{}"
        assert rig.request("/api/queue/v1/x").status == 200, "a new connection of a known run"
        assert time.monotonic() - started < 0.5
    assert rig.request("/api/queue/v1/x", address="127.77.5.5").status == 503, "an address not known from before"
    rig.redis.start()
    rig.give_address(rig.address, "T/0", uid=os.getuid())
    rig.store_credentials("T/0", "task-client/after-restart", publish=False)
    until(lambda: "after-restart" in _client_id(rig), within_s=3.0)
    connection.close()
    rig.store_credentials("T/0", "task-client/subscribed-again")
    until(lambda: "subscribed-again" in _client_id(rig), within_s=3.0)


def test_health_tells_that_redis_is_away(own_redis_rig: Rig) -> None:
    own_redis_rig.request("/api/queue/v1/x")
    own_redis_rig.redis.stop()
    time.sleep(1.1)  # what it knows is asked for again after a second
    own_redis_rig.request("/api/queue/v1/x")
    assert own_redis_rig.status("/healthz").json["redis"] == "away"


def test_a_run_without_credentials_is_told_so(rig: Rig, redis_server: RedisServer) -> None:
    rig.give_address("127.77.5.6", "none/0", os.getuid())
    answer = rig.request("/api/queue/v1/x", address="127.77.5.6")
    assert (answer.status, answer.json["code"]) == (503, "NoCredentials")
