"""What a stolen Redis password opens: each role's own rows and nothing else."""

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from redis.retry import Retry

from simulators.redis import RedisServer
from taskward.core.acl import ROLES

OTHERS = {
    "executor": [
        "tw:creds:a/0",
        "rq:queue:upload:intermediate",
        "tw:manifest:a/0",
        "rq:worker:uploader-1",
        "rq:workers",
    ],
    "uploader": [
        "rq:queue:execute",
        "rq:job:x-1",
        "tw:peer:127.0.0.1",
        "tw:log:secret",
        "rq:worker:executor-1",
        "rq:workers",
    ],
    "proxy": ["tw:task:a/0", "tw:run:a/0", "tw:upload:a/0", "tw:log:x", "rq:queue:execute", "tw:manifest:a/0"],
    "gateway": ["tw:creds:a/0", "tw:task:a/0", "tw:run:a/0", "tw:upload:a/0", "tw:peer:127.0.0.1", "rq:queue:execute"],
    "claimer": ["tw:peer:127.0.0.1", "tw:log:x", "rq:workers:execute", "rq:results:x-1"],
    "monitor": ["tw:creds:a/0", "tw:log:x", "rq:job:x-1"],
}
DANGEROUS = [
    ("CONFIG", "GET", "*"), ("EVAL", "return 1", "0"), ("FUNCTION", "LIST"), ("ACL", "LIST"), ("MONITOR",),
    ("KEYS", "*"),
    ("SCAN", "0"), ("FLUSHALL",), ("SHUTDOWN",), ("CLIENT", "LIST"), ("REPLICAOF", "a", "1"),
    ("SAVE",), ("SCRIPT", "LOAD", "return 1"), ("RENAME", "tw:creds:a/0", "tw:log:a"), ("COPY", "tw:creds:a/0", "tw:x"),
    ("SORT", "tw:runs", "GET", "tw:creds:*"), ("PSUBSCRIBE", "*"), ("MIGRATE", "h", "1", "k", "0", "1"),
]  # fmt: skip


@pytest.mark.parametrize("role", list(ROLES))
@pytest.mark.parametrize("command", DANGEROUS, ids=lambda command: command[0])
def test_no_role_has_dangerous_commands(redis_server: RedisServer, role: str, command: tuple[str, ...]) -> None:
    with redis_server.client(role) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


@pytest.mark.parametrize(("role", "key"), [(role, key) for role, keys in OTHERS.items() for key in keys])
def test_a_role_reads_and_writes_only_its_own_keys(redis_server: RedisServer, role: str, key: str) -> None:
    with redis_server.client(role) as client:
        for command in (("GET", key), ("HGETALL", key), ("HSET", key, "a", "b"), ("RPUSH", key, "x")):
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)


@pytest.mark.parametrize("key", ["tw:creds:a/0", "tw:peer:127.0.0.1"])
def test_the_proxy_cannot_write_what_it_reads(redis_server: RedisServer, redis: Redis, key: str) -> None:
    with redis_server.client("proxy") as client, pytest.raises(NoPermissionError):
        client.execute_command("SET", key, "forged")


def test_the_uploader_cannot_write_credentials(redis_server: RedisServer) -> None:
    with redis_server.client("uploader") as client, pytest.raises(NoPermissionError):
        client.set("tw:creds:a/0", "forged")


def test_a_function_does_not_lend_its_rights(redis_server: RedisServer, redis: Redis) -> None:
    """The uploader may call functions, yet not on the credentials or the execute queue."""
    names = ["tw:run:a/0", "tw:runs", "tw:creds:a/0", "rq:job:x-1", "rq:queue:execute", "rq:queues"]
    with redis_server.client("uploader") as client, pytest.raises((NoPermissionError, ResponseError)):
        client.fcall("tw_claim", len(names), *names, "a/0", "{}", "0", "x-1", "data", "x")
    assert redis.llen("rq:queue:execute") == 0


def test_nobody_connects_without_a_name_or_with_a_wrong_password(redis_server: RedisServer) -> None:
    for options in ({}, {"username": "executor", "password": "wrong"}, {"username": "default", "password": ""}):
        once = Retry(NoBackoff(), 0)
        client = Redis(unix_socket_path=str(redis_server.socket), retry=once, **options)  # type: ignore[arg-type]
        with client, pytest.raises((AuthenticationError, ResponseError)):
            client.ping()


def test_there_is_no_tcp_port(redis_server: RedisServer, redis: Redis) -> None:
    assert redis.config_get("port") == {"port": "0"}


def test_what_a_function_wrote_survives_a_kill_of_the_server(redis_server: RedisServer, redis: Redis) -> None:
    """Redis replays transactions with the rights of its default user (see `acl.py`)."""
    redis.zadd("rq:wip:execute", {"x-1:e": 1})
    redis.hset("rq:job:x-1", "status", "started")
    names = [
        "rq:wip:execute", "rq:queue:execute:intermediate", "rq:queue:execute", "rq:job:x-1", "rq:failed:execute",
    ]  # fmt: skip
    assert redis_server.client("claimer").fcall("tw_requeue", len(names), *names, "x-1:e", "x-1", "5") == 1
    redis_server.restart()
    assert redis.exists("rq:wip:execute") == 0
    assert redis.lrange("rq:queue:execute", 0, -1) == [b"x-1"]
