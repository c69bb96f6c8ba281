"""Starts the servers of one desktop and a session in it, with the task's rights."""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Final

from taskward.executor.engine import Engine, Process, Program
from taskward.executor.environment import PATH
from taskward.executor.errors import CommandNotStarted, EngineFailed
from taskward.executor.rdp.relay import hand_over, relay
from taskward.executor.rdp.site import Site
from taskward.executor.watch import readable

SERVERS: Final = {"Xvnc": "tigervnc-standalone-server", "xrdp": "xrdp"}
"""Program → Debian's package."""

_DISPLAY_FD: Final = 9  # Xvnc makes descriptor 3 its own
_STARTS_WITHIN_S: Final = 20.0
_PAUSE_S: Final = 0.01
_SIZE: Final = "1280x800"
_SOCKETS: Final = Path("/tmp/.X11-unix")  # noqa: S108 - where X servers and clients look for each other


def missing_servers() -> list[str]:
    """What has to be installed."""
    return [package for name, package in SERVERS.items() if shutil.which(name, path=PATH) is None]


@dataclass(frozen=True)
class Running:
    """A desktop; it ends with the engine's `kill`. `relay` is ours to close before that.

    Attributes:
        display: for the environment of X clients.
        server: the X server, with which everything in it ends.
        relay: closing it lets nobody in any more.
    """

    display: str
    server: Process
    relay: socket


@dataclass(frozen=True)
class Desktop:
    """Can be started again after a `kill`.

    Attributes:
        site: its files.
        door: where clients connect.
        inner: where xrdp finds the X server.
    """

    engine: Engine
    site: Site
    title: str
    door: socket
    inner: socket

    def start(self) -> Running:
        """The servers; returns when a client can log in.

        Raises:
            EngineFailed: a server does not start; the text is its own.
            OSError: no descriptors or processes are left.
        """
        _make_sockets_directory()
        display, server = self._start_x()
        self._start_xrdp()
        control = self.engine.as_task(relay(self.site.socket))
        hand_over(control, self.door)
        return Running(display, server, control)

    def open_session(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """What a person finds on the desktop.

        Raises:
            CommandNotStarted: there is no such program.
            EngineFailed: this machine cannot start it.
        """
        with open(os.devnull, "wb") as nowhere:
            self.engine.start(Program(tuple(argv), environment), nowhere.fileno())

    def _start_x(self) -> tuple[str, Process]:
        argv = (
            "Xvnc", "-inetd", "-displayfd", str(_DISPLAY_FD), "-SecurityTypes", "VncAuth",
            "-PasswordFile", str(self.site.password), "-UseBlacklist=0", "-AlwaysShared", "-auth",
            str(self.site.authority), "-nolisten", "tcp", "-noreset", "-geometry", _SIZE, "-depth", "24",
            "-desktop", self.title,
        )  # fmt: skip
        told, tells = os.pipe2(os.O_CLOEXEC)
        with open(told, "rb") as stream, os.fdopen(os.memfd_create("Xvnc", os.MFD_CLOEXEC), "rb") as log:
            try:
                process = self._start_server(argv, log.fileno(), {0: self.inner.fileno(), _DISPLAY_FD: tells})
            finally:
                os.close(tells)
            if readable(stream, _STARTS_WITHIN_S) and (number := stream.readline().strip()):
                return f":{int(number)}", process
            log.seek(0)
            raise _not_started("Xvnc", log.read(10_000).decode(errors="replace"))

    def _start_xrdp(self) -> None:
        self.site.socket.unlink(missing_ok=True)
        with os.fdopen(os.memfd_create("xrdp", os.MFD_CLOEXEC), "rb") as log:
            argv = ("xrdp", "--nodaemon", "--config", str(self.site.configuration))
            process = self._start_server(argv, log.fileno(), {})
            deadline = time.monotonic() + _STARTS_WITHIN_S
            while not self.site.socket.is_socket():
                if process.ended() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise _not_started("xrdp", log.read(10_000).decode(errors="replace"))
                time.sleep(_PAUSE_S)

    def _start_server(self, argv: tuple[str, ...], log_fd: int, descriptors: Mapping[int, int]) -> Process:
        """Not with the variables of the task, which are for its own programs."""
        identity = self.engine.identity
        environment = {"PATH": PATH, "HOME": str(identity.home), "USER": identity.user}
        try:
            return self.engine.start(Program(argv, environment, descriptors), log_fd)
        except CommandNotStarted as error:
            raise EngineFailed(f"a remote desktop cannot be offered: {error}") from error


def _make_sockets_directory() -> None:
    """Root's: else the first task that wants an X server would own the sockets of all others."""
    if os.geteuid() == 0 and not _SOCKETS.is_dir():
        _SOCKETS.mkdir(exist_ok=True)
        _SOCKETS.chmod(0o1777)


def _not_started(name: str, log: str) -> EngineFailed:
    last = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "no reason given")
    return EngineFailed(f"a remote desktop cannot be offered: {name} does not start: {last[:300]}")
