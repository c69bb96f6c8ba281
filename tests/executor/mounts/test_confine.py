"""What a process that unpacks may still do."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from taskward.executor.mounts.confine import confine

WORKS, REFUSED, NO_LANDLOCK = 0, 1, 77


def attempt(action: Callable[[], object], writable: Path) -> int:
    """In a process of its own, which may write below `writable`."""
    pid = os.fork()
    if pid == 0:
        status = REFUSED
        try:
            directory = os.open(writable, os.O_RDONLY)
            if not confine(directory):
                os._exit(NO_LANDLOCK)
            os.fchdir(directory)
            action()
            status = WORKS
        except OSError:
            status = REFUSED
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == NO_LANDLOCK:
        pytest.skip("this kernel has no Landlock")
    return status


def test_it_writes_below_its_directory(tmp_path: Path) -> None:
    def work() -> None:
        Path("d").mkdir()
        Path("d/f").write_text("x")
        Path("d/f").rename("g")
        Path("l").symlink_to("/etc")

    assert attempt(work, tmp_path) == WORKS
    assert (tmp_path / "g").read_text() == "x"


@pytest.mark.parametrize("way", ["../out/f", "{out}/f", "link/f"])
def test_it_writes_nowhere_else_even_as_root(tmp_path: Path, way: str) -> None:
    inside, out = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    out.mkdir()
    (inside / "link").symlink_to(out)

    assert attempt(lambda: Path(way.format(out=out)).write_text("x"), inside) == REFUSED
    assert not list(out.iterdir())


@pytest.mark.parametrize("path", ["/etc/hostname", "/proc/self/environ", "/root"])
def test_it_reads_programs_only(tmp_path: Path, path: str) -> None:
    def read() -> None:
        place = Path(path)
        _ = list(place.iterdir()) if place.is_dir() else place.read_bytes()

    assert attempt(read, tmp_path) == REFUSED
    assert attempt(lambda: Path("/usr/bin/env").read_bytes(), tmp_path) == WORKS


def test_it_makes_no_device(tmp_path: Path) -> None:
    assert attempt(lambda: os.mknod("null", 0o020666, os.makedev(1, 3)), tmp_path) == REFUSED


def test_it_reaches_no_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        assert attempt(lambda: socket.create_connection(address, timeout=2), tmp_path) == REFUSED
