"""Many readers, slow ones, and what they cost."""

import re
import subprocess
import threading
import time
from pathlib import Path

import pytest

from gateway.conftest import StartGateway
from gateway.rig import Gateway, TaskLog, eventually

IDLE_READERS = 500
BIG_LOG_BYTES = 200 * 2**20


def resident_bytes(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_five_hundred_idle_readers_do_not_slow_a_quick_one(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    before = resident_bytes(gateway.worker_pid)
    log = gateway.log()
    idle = [gateway.read(log) for _ in range(IDLE_READERS)]
    for reader in idle:
        assert reader.head()[0] == 200
    eventually(lambda: gateway.metric("readers") == IDLE_READERS)
    assert (resident_bytes(gateway.worker_pid) - before) / IDLE_READERS < 16 * 1024

    busy = gateway.log()
    busy.write(b"x" * 20_000_000)
    busy.finish()
    began = time.monotonic()
    assert len(gateway.answer(f"/log/{busy.token}")[2]) == 20_000_000
    assert time.monotonic() - began < 5

    log.write(b"line\n")
    log.finish()
    assert all(reader.rest() == b"line\n" and reader.complete for reader in idle)
    for reader in idle:
        reader.sock.close()


def test_idle_readers_cost_next_to_no_time(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    log = gateway.log()
    idle = [gateway.read(log) for _ in range(200)]
    for reader in idle:
        reader.head()
    before = cpu_s(gateway.worker_pid)
    time.sleep(1.5)
    assert cpu_s(gateway.worker_pid) - before < 0.3
    for reader in idle:
        reader.sock.close()


@pytest.mark.slow
def test_reader_that_never_reads_costs_the_task_nothing(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    log = gateway.log()
    stuck = [gateway.read(log) for _ in range(20)]
    for reader in stuck:
        reader.head()
    before = resident_bytes(gateway.worker_pid)
    with gateway.read(log) as quick:
        quick.head()
        printer = threading.Thread(target=print_much, args=(log,))
        printer.start()
        received = 0
        while piece := quick.some(1):
            received += len(piece)
        printer.join()
        assert (received, quick.complete) == (BIG_LOG_BYTES, True)
    assert resident_bytes(gateway.worker_pid) - before < 8 * 2**20
    for reader in stuck:
        reader.sock.close()


def print_much(log: TaskLog) -> None:
    with log.path.open("ab") as stream:
        subprocess.run(["head", "-c", str(BIG_LOG_BYTES), "/dev/zero"], stdout=stream, check=True)
    log.finish()


def test_slow_reader_gets_every_byte_in_the_end(gateway: Gateway) -> None:
    data = b"".join(b"line %d\n" % number for number in range(300_000))
    log = gateway.log()
    log.write(data)
    log.finish()
    with gateway.read(log, "?offset=0") as slow:
        slow.head()
        time.sleep(0.5)
        body = slow.rest()
    assert body == data
