"""What happens when something around a reader dies."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from gateway.conftest import StartGateway
from gateway.rig import Gateway, eventually, worker_file
from simulators.redis import RedisServer


def test_reader_resumes_after_a_kill_of_the_gateway(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    log = gateway.log()
    log.write(b"0123456789" * 1000)
    with gateway.read(log) as reader:
        reader.head()
        first = reader.some(10_000)
        gateway.kill()
        assert reader.rest() == b""
        assert not reader.complete
    log.write(b"after\n")
    gateway.start()
    with gateway.read(log, Range=f"bytes={len(first)}-") as reader:
        assert reader.head()[0] == 206
        log.finish()
        assert reader.rest() == b"after\n"
        assert reader.complete


def test_dead_worker_process_is_replaced(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    dead = gateway.worker_pid
    os.kill(dead, signal.SIGKILL)
    eventually(lambda: gateway.stderr.count("Booting worker") == 2)
    assert gateway.answer("/healthz")[0] == 200
    assert gateway.worker_pid != dead


def test_without_redis_readers_follow_on_and_new_ones_are_told_to_come_again(start_gateway: StartGateway) -> None:
    with RedisServer() as redis:
        gateway = start_gateway(redis)
        log = gateway.log()
        with gateway.read(log) as reader:
            reader.head()
            redis.kill()
            began = time.monotonic()
            status, headers, _ = gateway.answer(f"/log/{log.token}")
            assert (status, headers["retry-after"]) == (503, "5")
            assert time.monotonic() - began < 10
            assert '"redis":false' in gateway.answer("/healthz")[2].decode()
            log.write(b"still here\n")
            assert reader.some(11) == b"still here\n"
            redis.start()
            assert gateway.answer(f"/log/{log.token}?follow=0")[0] == 200
            log.finish()
            assert reader.rest() == b""
            assert reader.complete


def test_sigterm_ends_it_at_once_and_readers_know(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    log = gateway.log()
    log.write(b"line\n")
    with gateway.read(log) as reader:
        reader.head()
        reader.some(5)
        began = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began < 8
        assert reader.rest() == b""
        assert not reader.complete


def run_with(config: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "taskward.gateway", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_wrong_configuration_exits_64_with_the_remedy(tmp_path: Path) -> None:
    config = tmp_path / "worker.toml"
    config.write_text(worker_file({"prot": 1}))
    done = run_with(config)
    assert done.returncode == 64
    assert "did you mean port" in done.stderr


def test_missing_password_file_exits_64(tmp_path: Path) -> None:
    config = tmp_path / "worker.toml"
    config.write_text(worker_file({"port": 0}))
    done = run_with(config)
    assert done.returncode == 64
    assert "redis_password_file" in done.stderr


def test_health_is_told_on_the_status_socket(gateway: Gateway) -> None:
    assert '"ok":true' in gateway.status("/healthz")
    assert gateway.status_socket.stat().st_mode & 0o007 == 0


def test_few_open_files_mean_fewer_readers_not_a_failure(start_gateway: StartGateway) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    gateway = start_gateway(max_readers=1_000_000) if hard < 1_000_000 else start_gateway()
    assert ("max_readers lowered" in gateway.stderr) == (hard < 1_000_000)
    assert gateway.answer("/healthz")[0] == 200
