"""The proxy lives with the rights that its role has in Redis, and its password opens nothing else."""

from collections.abc import Iterator

import pytest
import redis
from redis.exceptions import NoPermissionError

from proxy.rig import RedisServer, Rig, running_proxy, running_redis
from proxy.upstream import simulated_taskcluster
from simulators.patience import until
from taskward.proxy import keys
from taskward.proxy.redislink import Address, Links
from taskward.proxy.store import Store


@pytest.fixture(scope="module")
def guarded_redis() -> Iterator[RedisServer]:
    with running_redis(acl_roles=["proxy"]) as server:
        yield server


@pytest.fixture(scope="module")
def guarded_rig(guarded_redis: RedisServer) -> Iterator[Rig]:
    line = f'redis_password_file = "{guarded_redis.folder / "proxy"}"\n'
    with simulated_taskcluster() as taskcluster, running_proxy(guarded_redis, taskcluster, line) as rig:
        yield rig


def test_the_role_is_enough_to_serve_and_to_hear_of_new_credentials(guarded_rig: Rig) -> None:
    assert guarded_rig.request("/api/queue/v1/x").status == 200
    until(lambda: _subscribers(guarded_rig) == 1)
    guarded_rig.store_credentials("T/0", "task-client/new")
    until(lambda: "task-client/new" in _signature(guarded_rig), within_s=0.5)
    assert "NOPERM" not in (guarded_rig.folder / "log").read_text()


def _subscribers(rig: Rig) -> int:
    with rig.redis.client as client:
        return int(client.pubsub_numsub(keys.CREDENTIALS_CHANNEL)[0][1])


def _signature(rig: Rig) -> str:
    rig.request("/api/queue/v1/x")
    return rig.taskcluster.requests[-1].one("authorization") or ""


def test_the_role_may_remember_devices(guarded_redis: RedisServer) -> None:
    password = (guarded_redis.folder / "proxy").read_text()
    store = Store(Links(Address(guarded_redis.socket, 1, "proxy", password)))
    store.keep_device("T/0", "{}")
    assert store.devices() == {"T/0": "{}"}
    store.forget_device("T/0")
    assert store.devices() == {}


@pytest.mark.parametrize(
    "command",
    ["SET tw:creds:T/0 x", "HSET tw:peer:127.77.0.1 uid 0", "HDEL tw:peer:10.0.0.1 subnet", "GET tw:log:x", "KEYS *"],
)
def test_the_role_is_not_enough_for_more(guarded_redis: RedisServer, command: str) -> None:
    password = (guarded_redis.folder / "proxy").read_text()
    with (
        redis.Redis(unix_socket_path=str(guarded_redis.socket), username="proxy", password=password) as client,
        pytest.raises(NoPermissionError),
    ):
        client.execute_command(*command.split())
