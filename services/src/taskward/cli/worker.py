"""A worker on this machine: from its configuration to a running set of processes, and back."""

import os
import re
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from taskward.cli import listening, redisview, supervision, supervisord
from taskward.cli.directories import explained
from taskward.cli.errors import Unavailable
from taskward.cli.programs import STOP_MARGIN_S, Devcluster, base_environment, programs
from taskward.cli.provision import provision
from taskward.cli.supervisor import Process
from taskward.core.errors import ConfigurationError
from taskward.core.poll import until
from taskward.core.settings import Settings

READY_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.05
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9._/+@=-]+")


class Worker:
    """The worker that a configuration describes; one at a time per state directory.

    Raises:
        ConfigurationError: the state directory's path has characters that a program's command line cannot bear.
    """

    def __init__(self, settings: Settings, devcluster: Devcluster | None = None) -> None:
        self.settings = settings
        self.state_dir = settings.layout.state_dir
        self._devcluster = devcluster
        if not _PLAIN_PATH.fullmatch(str(self.state_dir)):
            raise ConfigurationError(f"[worker] state_dir {self.state_dir}: only letters, digits and ._/+@=- please")

    def start(self, meanwhile: Callable[[], None] = lambda: None) -> tuple[Process, ...]:
        """Starts all processes in the background and returns when all of them run and those with a door answer.

        `meanwhile` is called as soon as the supervisor has begun.

        Raises:
            ConfigurationError: nothing was started.
            CommandError: it runs already, or something does not come up.
        """
        with self._ready_to_start():
            supervision.start_in_background(self.state_dir)
            meanwhile()
            started = supervision.await_running(self.state_dir, READY_WITHIN_S)
            self._await_redis()
            listening.await_all(self.settings, READY_WITHIN_S)
            return started

    def _await_redis(self) -> None:
        if not until(lambda: redisview.look(self.settings.redis("monitor")) is not None, READY_WITHIN_S, _POLL_S):
            raise Unavailable(f"Redis does not answer; see {self.state_dir}/var/log/redis.log")

    def replace_this_process(self) -> None:
        """Becomes supervisord, in the foreground: for systemd and containers; does not return.

        Raises:
            ConfigurationError: nothing was started.
            CommandError: it runs already.
        """
        with self._ready_to_start():
            argv = supervisord.command_line(self.state_dir)
        supervision.no_core_dumps()
        os.umask(supervision.UMASK)
        os.chdir(self.state_dir)
        os.execve(argv[0], list(argv), base_environment())  # noqa: S606 - the supervisor is this process from now on

    def stop(self) -> bool:
        """Ends the running tasks as `worker-shutdown`, then all processes; False when nothing ran.

        Raises:
            CommandError: something is still there long after the grace time.
        """
        if not supervisord.directory(self.state_dir).is_dir():
            return False
        # executor, claimer and uploader get their time one after the other
        return supervision.stop(self.state_dir, 3 * (self.settings.worker.grace_s + STOP_MARGIN_S) + 60)

    @contextmanager
    def _ready_to_start(self) -> Iterator[None]:
        _require_open_files(supervisord.OPEN_FILES)
        with _exclusive(self.state_dir):
            with explained(self.state_dir), suppress(FileNotFoundError, NotADirectoryError):
                self.state_dir.stat()
            if supervision.supervisor(self.state_dir).answers():
                raise Unavailable(f"the worker in {self.state_dir} is running already; stop it with: taskward down")
            if supervisord.directory(self.state_dir).is_dir():
                # what a killed supervisor left is about to end
                supervision.await_gone(self.state_dir, self.settings.worker.grace_s + STOP_MARGIN_S)
            provision(self.settings)
            with explained(self.state_dir):
                supervisord.write_configuration(self.state_dir, programs(self.settings, self._devcluster))
            yield


def _require_open_files(wanted: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ConfigurationError(f"only {hard} files may be open here; the worker needs {wanted}: raise `ulimit -Hn`")


@contextmanager
def _exclusive(state_dir: Path) -> Iterator[None]:
    """Only one start at a time. The lock is a socket name of the kernel's, since there may be no directory yet."""
    name = f"\0taskward-up-{os.path.realpath(state_dir)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
        try:
            lock.bind(name)
        except OSError as error:
            raise Unavailable(f"another `taskward up` is starting the worker in {state_dir}") from error
        yield
