"""The follower by itself: over socket pairs, with a clock that the test turns."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.rig import TaskLog, eventually
from taskward.gateway.errors import TooManyReaders
from taskward.gateway.extent import Extent
from taskward.gateway.follower import Follower
from taskward.gateway.limits import Limits
from taskward.gateway.metrics import Metrics

EVERYTHING = Extent(0, None)


class Clock:
    """The test's thread turns `now_s`; each look of the follower's thread lets a millisecond pass."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._looks = 0

    def __call__(self) -> float:
        self._looks += 1
        return self.now_s + self._looks / 1000


class Bench:
    """A follower and what a test needs around it."""

    def __init__(self, logs_dir: Path) -> None:
        self.logs_dir = logs_dir
        self.clock = Clock()
        self.metrics = Metrics()
        limits = Limits(max_readers=3, idle_timeout_s=100, stall_timeout_s=50, prepare_timeout_s=20)
        self.follower = Follower(logs_dir, limits, self.metrics, clock_s=self.clock)
        self.follower.start()
        self.peers: list[socket.socket] = []

    def follow(self, log: TaskLog, extent: Extent = EVERYTHING, *, chunked: bool = False) -> socket.socket:
        ours, peer = socket.socketpair()
        peer.settimeout(20)
        self.peers.append(peer)
        self.follower.follow(ours, (log.folder.name, "live.log"), extent, chunked=chunked)
        return peer

    def dropped(self, reason: str) -> bool:
        return f'readers_dropped_total{{reason="{reason}"}} 1' in self.metrics.text()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.follower.stop()
    for peer in made.peers:
        peer.close()


@pytest.fixture
def log(bench: Bench) -> TaskLog:
    return TaskLog(bench.logs_dir, 0)


def everything(peer: socket.socket) -> bytes:
    try:
        return b"".join(iter(lambda: peer.recv(1 << 16), b""))
    except ConnectionResetError:
        return b""


def exactly(peer: socket.socket, size_bytes: int) -> bytes:
    received = b""
    while len(received) < size_bytes:
        received += peer.recv(size_bytes - len(received))
    return received


def test_silent_log_is_followed_up_to_the_idle_timeout(bench: Bench, log: TaskLog) -> None:
    log.write(b"line\n")
    peer = bench.follow(log)
    assert exactly(peer, 5) == b"line\n"
    bench.clock.now_s += 90
    log.write(b"line\n")
    assert exactly(peer, 5) == b"line\n"
    bench.clock.now_s += 90
    assert not bench.dropped("silent")
    bench.clock.now_s += 20
    assert everything(peer) == b""
    assert bench.dropped("silent")


def test_reader_that_takes_nothing_is_kept_up_to_the_stall_timeout(bench: Bench, log: TaskLog) -> None:
    log.write(b"x" * 10_000_000)
    peer = bench.follow(log)
    eventually(lambda: "taskward_gateway_readers_total 1" in bench.metrics.text())
    bench.clock.now_s += 40
    assert len(exactly(peer, 1000)) == 1000
    bench.clock.now_s += 60
    eventually(lambda: bench.dropped("stalled"))


def test_log_that_never_comes_is_given_up(bench: Bench) -> None:
    peer = bench.follow(TaskLog(bench.logs_dir, 7, prepared=False))
    eventually(lambda: "taskward_gateway_readers_total 1" in bench.metrics.text())
    bench.clock.now_s += 30
    assert everything(peer) == b""
    assert bench.dropped("never_came")


def test_log_that_was_cut_within_an_announced_chunk_keeps_its_framing(bench: Bench, log: TaskLog) -> None:
    log.write(b"x" * 4_000_000)
    peer = bench.follow(log, chunked=True)
    eventually(lambda: "taskward_gateway_readers_total 1" in bench.metrics.text())
    received = peer.recv(1000)
    os.truncate(log.path, 0)
    log.finish()
    received += everything(peer)
    sizes = []
    while received:
        line, _, received = received.partition(b"\r\n")
        size = int(line, 16)
        sizes.append(size)
        assert received[size : size + 2] == b"\r\n"
        assert set(received[:size]) <= {ord("x"), 0}
        received = received[size + 2 :]
    assert sizes[-1] == 0


def test_range_whose_bytes_vanish_is_broken_off(bench: Bench, log: TaskLog) -> None:
    log.write(b"x" * 4_000_000)
    peer = bench.follow(log, Extent(0, 4_000_000))
    eventually(lambda: "taskward_gateway_readers_total 1" in bench.metrics.text())
    peer.recv(1000)
    os.truncate(log.path, 0)
    assert len(everything(peer)) < 4_000_000
    assert bench.dropped("vanished")


def test_cut_log_never_gives_a_range_more_than_its_length(bench: Bench, log: TaskLog) -> None:
    log.write(b"x" * 4_000_000)
    peer = bench.follow(log, Extent(0, 4_000_000))
    eventually(lambda: "taskward_gateway_readers_total 1" in bench.metrics.text())
    os.truncate(log.path, 10)
    log.write(b"y" * 4_000_000)
    assert len(everything(peer)) <= 4_000_000


def test_reader_that_asks_no_more_reads_on(bench: Bench, log: TaskLog) -> None:
    log.write(b"x" * 4_000_000)
    peer = bench.follow(log)
    peer.shutdown(socket.SHUT_WR)
    assert len(exactly(peer, 4_000_000)) == 4_000_000
    log.write(b"line\n")
    assert exactly(peer, 5) == b"line\n"
    log.finish()
    assert everything(peer) == b""
    assert "taskward_gateway_readers_completed_total 1" in bench.metrics.text()


def test_reader_that_asks_no_more_and_goes_is_noticed_while_the_log_is_idle(bench: Bench, log: TaskLog) -> None:
    peer = bench.follow(log)
    peer.shutdown(socket.SHUT_WR)
    eventually(lambda: "taskward_gateway_readers_total 1" in bench.metrics.text())
    peer.close()
    eventually(lambda: bench.dropped("gone"))


def test_whoever_asks_no_more_makes_room_for_others_and_the_longest_first(bench: Bench, log: TaskLog) -> None:
    talking = bench.follow(log)
    silent = []
    for _ in range(2):
        silent.append(bench.follow(log))
        silent[-1].shutdown(socket.SHUT_WR)
        eventually(lambda: f"taskward_gateway_readers_half_closed {len(silent)}\n" in bench.metrics.text())
    bench.follower.check_room()
    newcomer = bench.follow(log)
    assert everything(silent[0]) == b""
    assert bench.dropped("made_room")
    assert bench.follower.reader_count == 3
    log.write(b"line\n")
    assert [exactly(peer, 5) for peer in (talking, silent[1], newcomer)] == [b"line\n"] * 3


def test_log_is_closed_after_its_last_reader(bench: Bench, log: TaskLog) -> None:
    peers = [bench.follow(log) for _ in range(2)]
    eventually(lambda: "taskward_gateway_readers_total 2" in bench.metrics.text())
    assert open_files(log.path) == 1
    for peer in peers:
        peer.close()
    eventually(lambda: "taskward_gateway_logs 0" in bench.metrics.text())
    assert open_files(log.path) == 0


def open_files(path: Path) -> int:
    found = 0
    for fd in Path("/proc/self/fd").iterdir():
        try:
            found += fd.readlink() == path
        except FileNotFoundError:
            continue  # the descriptor of this very listing
    return found


def test_room_is_for_so_many_readers_only(bench: Bench, log: TaskLog) -> None:
    for _ in range(3):
        bench.follower.check_room()
        bench.follow(log)
    with pytest.raises(TooManyReaders):
        bench.follower.check_room()


def test_stopping_breaks_readers_off_without_an_end_mark(bench: Bench, log: TaskLog) -> None:
    log.write(b"line\n")
    peer = bench.follow(log, chunked=True)
    assert exactly(peer, 10) == b"5\r\nline\n\r\n"
    stopper = threading.Thread(target=bench.follower.stop)
    stopper.start()
    assert everything(peer) == b""
    stopper.join()
    bench.follower = Follower(bench.logs_dir, Limits(1, 1, 1, 1), bench.metrics)
    bench.follower.start()


def test_farewell_waits_for_the_peer_but_not_for_ever(bench: Bench) -> None:
    ours, peer = socket.socketpair()
    ours.sendall(b"answer")
    bench.follower.see_off(ours)
    peer.settimeout(20)
    assert everything(peer) == b"answer"
    peer.sendall(b"still here")
    bench.clock.now_s += 10
    eventually(lambda: hung_up(peer))
    peer.close()


def hung_up(peer: socket.socket) -> bool:
    try:
        peer.send(b"?")
    except BrokenPipeError:
        return True
    return False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_failure_of_the_thread_is_told_so_that_the_process_can_be_replaced(tmp_path: Path) -> None:
    told = threading.Event()
    follower = Follower(tmp_path, Limits(1, 1, 1, 1), Metrics(), clock_s=broken_clock, on_failure=told.set)
    follower.start()
    assert told.wait(20)
    follower.stop()
    assert not follower.is_running


def broken_clock() -> float:
    raise ArithmeticError("time is out of joint")
