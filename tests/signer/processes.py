"""Keyholder and signer as real processes, in a short directory of their own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signer.simulated_queue import TASK_QUEUE_ID, WORKER_GROUP, WORKER_ID
from simulators.patience import until

PYTHON = sys.executable
_START_TIMEOUT_S = 30


@dataclass
class Service:
    """A running process and the files it was given."""

    process: subprocess.Popen[bytes]
    directory: Path
    log: Path

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=15)


def write_config(directory: Path, root_url: str = "http://127.0.0.1:1", **changes: dict[str, Any]) -> Path:
    """A configuration whose sockets, keys and records lie below `directory`; `changes` are merged; None takes away."""
    sections: dict[str, dict[str, Any]] = {
        "taskcluster": {"root_url": root_url, "client_id": "not-for-the-signer"},
        "worker": {"task_queue_id": TASK_QUEUE_ID, "worker_group": WORKER_GROUP, "worker_id": WORKER_ID},
        "keyholder": {
            "socket": str(directory / "keyholder.sock"),
            "keys_dir": str(directory / "keys"),
            "public_keys_dir": str(directory / "public"),
            "allowed_users": [os.getuid()],
        },
        "decrypter": {
            "socket": str(directory / "decrypter.sock"),
            "keys_dir": str(directory / "decrypter"),
            "public_keys_dir": str(directory / "public-encryption"),
            "allowed_users": [os.getuid()],
        },
        "signer": {
            "socket": str(directory / "signer.sock"),
            "state_dir": str(directory / "state"),
            "keyholder_socket": str(directory / "keyholder.sock"),
            "public_keys_dir": str(directory / "public"),
            "allowed_users": [os.getuid()],
        },
    }
    for name, change in changes.items():
        sections.setdefault(name, {}).update(change)
    file = directory / "worker.toml"
    file.write_text("".join(_section(name, table) for name, table in sections.items()))
    return file


@contextmanager
def keyholder(config: Path, uid: int | None = None, socket_name: str = "keyholder.sock") -> Iterator[Service]:
    """A keyholder that listens, as another user if `uid` is given (needs root)."""
    with _running("taskward.signer.keyholder", config, socket_name, uid) as service:
        yield service


@contextmanager
def signer(config: Path, uid: int | None = None, socket_name: str = "signer.sock") -> Iterator[Service]:
    """A signer that listens, as another user if `uid` is given (needs root)."""
    with _running("taskward.signer", config, socket_name, uid) as service:
        yield service


@contextmanager
def signer_on_port(config: Path, port: int) -> Iterator[Service]:
    """A signer for callers on other hosts."""
    with _running("taskward.signer", config, port, None) as service:
        yield service


@contextmanager
def decrypter(config: Path, uid: int | None = None, socket_name: str = "decrypter.sock") -> Iterator[Service]:
    """A decrypter that listens, as another user if `uid` is given (needs root)."""
    with _running("taskward.signer.decrypter", config, socket_name, uid) as service:
        yield service


def failed_start(module: str, config: Path) -> tuple[int, str]:
    """Exit code and stderr of a process that does not come up."""
    done = subprocess.run(
        [PYTHON, "-m", module, "--config", str(config)],
        capture_output=True,
        check=False,
        timeout=_START_TIMEOUT_S,
    )
    return done.returncode, done.stderr.decode()


def as_nobody(code: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run Python code as a user who has nothing to do with the worker (needs root)."""
    return subprocess.run(
        [PYTHON, "-c", code, *arguments],
        capture_output=True,
        check=False,
        timeout=30,
        user=65534,
        group=65534,
        extra_groups=[],
        cwd="/",
    )


def gpg_processes(directory: Path, name: str = "gpg") -> set[int]:
    """Processes of `name` that work with a home below `directory`."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if name.encode() in command and str(directory).encode() in command:
                found.add(int(process.name))
    return found


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory with a path short enough for sockets.

    It is removed once no gpg, which ends a little later than it is told to, changes anything in it.
    """
    directory = Path(tempfile.mkdtemp(prefix="tw"))
    try:
        yield directory
    finally:
        until(lambda: not gpg_processes(directory), "the end of gpg")
        shutil.rmtree(directory)


@contextmanager
def _running(module: str, config: Path, door: str | int, uid: int | None) -> Iterator[Service]:
    directory = config.parent
    log = directory / f"{module}.log"
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [PYTHON, "-m", module, "--config", str(config)],
            stdout=output,
            stderr=output,
            cwd=directory,
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
        )
    service = Service(process, directory, log)
    try:
        _wait_until_listening(service, ("127.0.0.1", door) if isinstance(door, int) else str(directory / door))
        yield service
    finally:
        if process.poll() is None:
            service.stop()


def _wait_until_listening(service: Service, address: str | tuple[str, int]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and service.process.poll() is None:
        with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as probe:
            if probe.connect_ex(address) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"did not start: {service.log.read_text()}")


def _section(name: str, table: dict[str, Any]) -> str:
    lines = [f"{key} = {_toml(value)}\n" for key, value in table.items() if value is not None]
    return f"[{name}]\n{''.join(lines)}\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
