"""Everything that a hostile task, reader or Redis entry might try."""

import os
import time
from pathlib import Path

import pytest
from redis import Redis

from gateway.conftest import StartGateway
from gateway.rig import Gateway, TaskLog, eventually
from simulators.redis import RedisServer

SECRET = b"root:secret"


@pytest.fixture
def executor(redis_server: RedisServer) -> Redis:
    return redis_server.client("executor")


@pytest.fixture
def treasure(gateway: Gateway) -> Path:
    path = gateway.directory / "treasure"
    path.write_bytes(SECRET)
    return path


def assert_not_served(gateway: Gateway, log: TaskLog) -> None:
    for query in ("", "?follow=0", "?tail=1"):
        status, _, body = gateway.answer(f"/log/{log.token}{query}")
        assert status == 500
        assert b"secret" not in body


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "x" * 21,
        "x" * 129,
        "x" * 22,
        "%00" * 22,
        "tw:log:" + "x" * 22,
        "*" * 22,
        "x" * 3000,
        "%C3%A9" * 22,
        "%2e%2e" * 11,
    ],
)
def test_wrong_token_is_denied_whatever_it_looks_like(gateway: Gateway, token: str) -> None:
    status, headers, body = gateway.answer(f"/log/{token}")
    assert (status, body) == (401, b"Access denied")
    assert headers["access-control-allow-origin"] == "*"


def test_token_with_one_wrong_character_opens_nothing(gateway: Gateway) -> None:
    log = gateway.log()
    log.write(SECRET)
    log.finish()
    for position in range(len(log.token)):
        wrong = log.token[:position] + ("A" if log.token[position] != "A" else "B") + log.token[position + 1 :]
        assert gateway.answer(f"/log/{wrong}")[::2] == (401, b"Access denied")


def test_token_opens_its_own_log_only(gateway: Gateway) -> None:
    mine, other = gateway.log(), gateway.log()
    other.write(SECRET)
    mine.finish()
    for target in (
        f"/log/{mine.token}/../{other.folder.name}/live.log",
        f"/log/{mine.token}?path={other.path}",
        f"/log/{mine.token}/{other.path}",
    ):
        assert SECRET not in gateway.answer(target)[2]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/shadow",
        "/proc/self/environ",
        "{logs}/../treasure",
        "{logs}/x/../../treasure",
        "{logs}",
        "{logs}/live.log",
        "{logs}/",
        "{logs}x/a/live.log",
        "logs/a/live.log",
        "",
        "{logs}/a\0b/live.log",
    ],
)
def test_entry_that_names_another_place_is_refused(
    gateway: Gateway, executor: Redis, treasure: Path, path: str
) -> None:
    log = gateway.log().publish(executor, path.format(logs=gateway.logs_dir))
    assert_not_served(gateway, log)


@pytest.mark.parametrize("entry", [b"", b"{", b"[]", b"null", b"1", b'{"path": 3}', b"\xff\xfe", b"[" * 100_000])
def test_entry_that_is_no_entry_is_refused(gateway: Gateway, executor: Redis, entry: bytes) -> None:
    log = gateway.log()
    executor.set(f"tw:log:{log.token}", entry)
    assert_not_served(gateway, log)


def test_log_that_is_a_symbolic_link_is_refused(gateway: Gateway, treasure: Path) -> None:
    log = gateway.log()
    log.path.unlink()
    log.path.symlink_to(treasure)
    assert_not_served(gateway, log)


def test_folder_that_is_a_symbolic_link_is_refused(gateway: Gateway, treasure: Path) -> None:
    log = gateway.log(prepared=False)
    elsewhere = gateway.directory / f"elsewhere-{log.token}"
    elsewhere.mkdir()
    (elsewhere / "live.log").write_bytes(SECRET)
    log.folder.symlink_to(elsewhere)
    assert_not_served(gateway, log)


def test_fifo_and_folder_and_device_are_refused(gateway: Gateway) -> None:
    for make in (os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")):
        log = gateway.log()
        log.path.unlink()
        make(log.path)
        assert_not_served(gateway, log)


def test_link_planted_while_readers_wait_ends_them_with_nothing(gateway: Gateway, treasure: Path) -> None:
    log = gateway.log(prepared=False)
    with gateway.read(log) as reader:
        assert reader.head()[0] == 200
        log.folder.mkdir()
        log.path.symlink_to(treasure)
        assert reader.rest() == b""
        assert not reader.complete


def test_log_that_is_cut_goes_on_at_its_new_end(gateway: Gateway) -> None:
    log = gateway.log()
    log.write(b"x" * 1000)
    with gateway.read(log) as reader:
        reader.head()
        reader.some(1000)
        os.truncate(log.path, 10)
        time.sleep(0.2)
        log.write(b"new\n")
        assert reader.some(4) == b"new\n"
        log.finish()
        assert reader.rest() == b""
        assert reader.complete


def test_log_that_is_cut_again_and_again_hurts_nobody(gateway: Gateway) -> None:
    hostile, honest = gateway.log(), gateway.log()
    with gateway.read(hostile) as victim, gateway.read(honest) as reader:
        victim.head()
        reader.head()
        for _ in range(60):
            hostile.write(b"x" * 700_000)
            os.truncate(hostile.path, 3)
        honest.write(b"fine\n")
        honest.finish()
        assert reader.rest() == b"fine\n"
        hostile.finish()
        victim.rest()
        assert victim.complete


def test_deleted_log_is_sent_to_its_end_and_ends(gateway: Gateway) -> None:
    log = gateway.log()
    log.write(b"all\n")
    with gateway.read(log) as reader:
        reader.head()
        reader.some(4)
        log.path.unlink()
        assert reader.rest() == b""
        assert reader.complete


def test_metrics_are_for_the_status_socket_only(gateway: Gateway) -> None:
    assert gateway.answer("/metrics")[0] == 404
    assert "taskward_gateway_readers " in gateway.status("/metrics")
    assert gateway.answer("/healthz")[0] == 200


def test_no_token_stands_in_the_log_of_the_process(gateway: Gateway, executor: Redis) -> None:
    log = gateway.log()
    log.finish()
    gateway.answer(f"/log/{log.token}")
    gateway.answer(f"/log/{log.token}?tail=x")
    broken = gateway.log().publish(executor, "/etc/shadow")
    gateway.answer(f"/log/{broken.token}")
    assert "/etc/shadow" in gateway.stderr
    assert log.token not in gateway.stderr
    assert broken.token not in gateway.stderr


def test_one_reader_too_many_is_told_to_come_again(start_gateway: StartGateway) -> None:
    gateway = start_gateway(max_readers=2)
    log = gateway.log()
    readers = [gateway.read(log) for _ in range(2)]
    for reader in readers:
        reader.head()
    eventually(lambda: gateway.metric("readers") == 2)
    status, headers, _ = gateway.answer(f"/log/{log.token}")
    assert (status, headers["retry-after"]) == (503, "5")
    readers[0].sock.close()
    eventually(lambda: gateway.metric("readers_half_closed") == 1)
    with gateway.read(log) as reader:
        assert reader.head()[0] == 200
        eventually(lambda: gateway.metric('readers_dropped_total{reason="made_room"}') == 1)
        assert gateway.metric("readers") == 2
    readers[1].sock.close()


def test_client_that_opens_and_closes_many_connections_keeps_nobody_out(start_gateway: StartGateway) -> None:
    gateway = start_gateway(max_readers=3)
    log = gateway.log()
    with gateway.read(log) as honest:
        honest.head()
        for _ in range(100):
            with gateway.read(log) as fleeting:
                assert fleeting.head()[0] in {200, 503}
            eventually(lambda: gateway.metric("readers") <= 3)
        eventually(lambda: gateway.metric("readers") == gateway.metric("readers_half_closed") + 1)
        with gateway.read(log) as latecomer:
            latecomer.head()
            log.write(b"line\n")
            log.finish()
            assert (honest.rest(), latecomer.rest()) == (b"line\n", b"line\n")
    eventually(lambda: gateway.metric("readers") == 0)
