"""Tokens are fetched when they are needed, kept while they last, and renewed before they end."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.rig import RedisServer, running_redis
from simulators.releng import ISSUING_TOKEN, TokenService
from simulators.service import serving
from taskward.proxy.credentials import Vault
from taskward.proxy.errors import RequestError, StartError
from taskward.proxy.named.settings import TokenSettings
from taskward.proxy.named.tokens import Tokens, literal_permissions
from taskward.proxy.routes import RootUrl
from taskward.proxy.store import Store
from taskward.proxy.upstream import Pool

SCOPES = ["docker-worker:relengapi-proxy:tooltool.download.public"]


class Clock:
    """Stands still, but for pauses."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.pauses_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def pause(self, pause_s: float) -> None:
        self.pauses_s.append(pause_s)


@pytest.fixture
def service() -> Iterator[TokenService]:
    with serving(TokenService()) as serving_tokens:
        yield serving_tokens


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


def store_scopes(server: RedisServer, run: str, scopes: list[str]) -> None:
    credentials = {
        "clientId": "c",
        "accessToken": "t",
        "takenUntil": "2100-01-01T00:00:00Z",
        "authorizedScopes": scopes,
    }
    with server.client as client:
        client.set(f"tw:creds:{run}", json.dumps(credentials))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(service: TokenService, redis_server: RedisServer, clock: Clock, tmp_path: Path) -> Tokens:
    file = tmp_path / "token"
    file.write_text(ISSUING_TOKEN)
    file.chmod(0o400)
    for run in ("a/0", "b/0"):
        store_scopes(redis_server, run, SCOPES)
    root = RootUrl.parse("https://tc.example.com")
    url = RootUrl.parse(service.url)
    vault = Vault(Store(redis_server.links), root, clock)
    return Tokens("relengAPIProxy", TokenSettings(file, url), vault, Pool(url, 1, 1, None), clock, clock.pause)


def test_a_token_is_kept_until_ten_seconds_before_its_end(tokens: Tokens, clock: Clock) -> None:
    assert [tokens.get("a/0"), tokens.get("a/0")] == ["tmp-1", "tmp-1"]
    clock.now_s += 589
    assert tokens.get("a/0") == "tmp-1"
    clock.now_s += 1
    assert tokens.get("a/0") == "tmp-2"


def test_each_run_has_its_own_token(tokens: Tokens) -> None:
    assert [tokens.get("a/0"), tokens.get("b/0")] == ["tmp-1", "tmp-2"]


def test_many_requests_at_once_fetch_one_token(tokens: Tokens, service: TokenService) -> None:
    threads = [threading.Thread(target=tokens.get, args=("a/0",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(service.issued) == 1


def test_other_permissions_get_another_token(tokens: Tokens, redis_server: RedisServer, clock: Clock) -> None:
    tokens.get("a/0")
    store_scopes(redis_server, "a/0", [*SCOPES, "docker-worker:relengapi-proxy:x"])
    clock.now_s += 2
    assert tokens.get("a/0") == "tmp-2"


def test_what_runs_have_left_is_forgotten(tokens: Tokens, redis_server: RedisServer, clock: Clock) -> None:
    tokens.get("a/0")
    clock.now_s += 1000
    tokens.get("b/0")
    assert list(tokens._held) == ["b/0"]


def test_a_service_in_trouble_is_asked_again_after_pauses_that_differ(
    tokens: Tokens, service: TokenService, clock: Clock
) -> None:
    for run in ("a/0", "b/0"):
        service.answers = [(500, {}), (503, {})]
        assert tokens.get(run).startswith("tmp-")
    assert all(0.125 <= pause_s <= 0.375 for pause_s in clock.pauses_s[::2])
    assert all(0.25 <= pause_s <= 0.75 for pause_s in clock.pauses_s[1::2])
    assert len(set(clock.pauses_s)) == 4


def test_a_service_that_stays_in_trouble_is_asked_three_times(
    tokens: Tokens, service: TokenService, clock: Clock
) -> None:
    service.answers = [(500, {})] * 9
    with pytest.raises(RequestError, match="gave no token: status 500"):
        tokens.get("a/0")
    assert (len(service.calls), len(clock.pauses_s)) == (3, 2)


def test_a_replaced_issuing_token_is_used_at_once(tokens: Tokens, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "token").unlink()
    (tmp_path / "token").write_text("another")
    (tmp_path / "token").chmod(0o400)
    with pytest.raises(RequestError, match="gave no token: status 403"):
        tokens.get("a/0")


def test_a_missing_issuing_token_is_noticed_at_the_start(tmp_path: Path, redis_server: RedisServer) -> None:
    root = RootUrl.parse("https://tc.example.com")
    vault = Vault(Store(redis_server.links), root)
    with pytest.raises(StartError, match=r"\[proxy.upstreams.relengAPIProxy.token\] issuing_token_file"):
        Tokens("relengAPIProxy", TokenSettings(tmp_path / "absent"), vault, Pool(root, 1, 1, None))


def test_permissions_are_the_literal_rest() -> None:
    scopes = ["p:b", "p:a", "p:", "p:*", "*", "p:b", "xp:c", "P:d"]
    assert literal_permissions(scopes, "p:") == ("*", "a", "b")
