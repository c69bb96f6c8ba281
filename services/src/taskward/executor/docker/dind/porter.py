"""A second process, for what must not be done by the one that reads a task's requests.

It has one thread, since it makes further processes: those that pull, as for ``payload.image``, and those that build,
with the rights of the task's user.
"""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from select import select
from socket import socket
from typing import Any, Final

from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.dind.build.builder import builder
from taskward.executor.docker.dind.errors import BROKEN, NOT_FOUND, WRONG, Refusal
from taskward.executor.docker.dind.exchange import Exchange
from taskward.executor.docker.dind.splice import end
from taskward.executor.docker.images import artifact
from taskward.executor.docker.images.child import until_abandoned
from taskward.executor.docker.images.errors import ImageFailed
from taskward.executor.docker.images.images import Images
from taskward.executor.docker.images.library import Library
from taskward.executor.docker.images.site import Site
from taskward.executor.docker.request import Image
from taskward.executor.errors import ExecutorError
from taskward.executor.mounts.errands import Answer, Errands, Refused, serve
from taskward.executor.mounts.errors import MountFailed
from taskward.executor.mounts.shelf import Shelf
from taskward.executor.processes import reap_orphans
from taskward.executor.task import Task

_PIECE_BYTES: Final = 1 << 16
_BUILDS_AT_ONCE: Final = 4


def porter(task: Task, api: Path, version: str) -> Callable[[socket], None]:
    """What to call in that process, with one end of a pair; it answers to ``pull``, ``load`` and ``builder``."""
    longest_s = float(task.payload.max_run_time_s) + task.settings.images.timeout_s

    def pull(request: Mapping[str, Any], _received: Sequence[int]) -> Answer:
        with _at_the_daemon(task) as daemon, Site(task) as site:
            found = Images(daemon, task.settings).ensure(Image("docker-image", name=request["name"]), site)
            with contextlib.closing(found), daemon.asking("keep an image"):
                repository, _, tag = str(request["pin"]).rpartition(":")
                daemon.api.tag(found.image_id, repository, tag)
        return {}, ()

    def load(request: Mapping[str, Any], received: Sequence[int]) -> Answer:
        with _at_the_daemon(task) as daemon, Site(task) as site:
            here = Library(daemon, Shelf(api.parent)).here
            artifact.load(site, received[0], request["sha256"], request["pin"], here)
        return {}, ()

    def start_builder(_request: Mapping[str, Any], _received: Sequence[int]) -> Answer:
        reap_orphans()
        connection = task.engine.as_task(until_abandoned(builder(api, version, longest_s)))
        return {}, (connection.detach(),)

    return serve({"pull": pull, "load": load, "builder": start_builder}, longest_s)


@contextlib.contextmanager
def _at_the_daemon(task: Task) -> Iterator[Daemon]:
    """For one errand; what goes wrong is told to who sent for it."""
    reap_orphans()
    with contextlib.closing(Daemon(task.settings.docker)) as daemon:
        try:
            yield daemon
        except ImageFailed as error:
            raise Refused(error.reason) from error
        except ExecutorError as error:
            raise Refused(str(error)) from error


class Away:
    """Our end: see `context.Porter`. Threads may share it."""

    def __init__(self, connection: socket) -> None:
        self._errands, self._turn = Errands(connection, _wait), threading.Lock()
        self._builds = threading.Semaphore(_BUILDS_AT_ONCE)

    def pull(self, name: str, pin: str) -> None:
        """One at a time."""
        self._ask("pull", NOT_FOUND, name=name, pin=pin)

    def names(self, file: int) -> list[str]:
        """A process with the task's rights looks."""
        try:
            with self._builds, Errands(socket(fileno=self._ask("builder", BROKEN)[0]), _wait) as errands:
                told, _ = errands.ask("names", file)
        except (MountFailed, ExecutorError) as error:
            raise Refusal(WRONG, str(error).removeprefix("[mounts] ")) from error
        return [str(each) for each in told["names"]]

    def load(self, file: int, sha256: str, pin: str) -> None:
        """One at a time."""
        self._ask("load", WRONG, file, sha256=sha256, pin=pin)

    def build(self, request: dict[str, Any], context: Iterable[bytes], exchange: Exchange,
              done: Callable[[str], None]) -> None:  # fmt: skip
        """In a process of its own; a few at a time, since they count for nobody's memory."""
        with self._builds:
            (received,) = self._ask("builder", BROKEN)
            with socket(fileno=received) as connection:
                exchange.on_hangup(lambda: end(connection))
                _build(Errands(connection, _wait), request, context, exchange, done)

    def _ask(self, verb: str, status: int, *descriptors: int, **arguments: Any) -> list[int]:
        try:
            with self._turn:
                return self._errands.ask(verb, *descriptors, **arguments)[1]
        except (MountFailed, ExecutorError) as error:
            raise Refusal(status, str(error).removeprefix("[mounts] ")) from error


def _build(errands: Errands, request: dict[str, Any], context: Iterable[bytes], exchange: Exchange,
           done: Callable[[str], None]) -> None:  # fmt: skip
    context_read, context_write = os.pipe2(os.O_CLOEXEC)
    told_read, told_write = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            errands.send("build", context_read, told_write, **request)
        finally:
            os.close(context_read)
            os.close(told_write)
        try:
            for piece in context:
                _write(context_write, piece)
        except BrokenPipeError:
            exchange.request.body.drain()  # the builder has had enough, and says why
        finally:
            os.close(context_write)
        exchange.stream(_told(told_read, errands, done))
    finally:
        os.close(told_read)


def _told(file: int, errands: Errands, done: Callable[[str], None]) -> Iterator[bytes]:
    while piece := os.read(file, _PIECE_BYTES):
        yield piece
    try:
        answer = errands.receive("build")[0]
    except (MountFailed, ExecutorError) as error:
        answer = {"image": "", "error": str(error).removeprefix("[mounts] ")}
    done(str(answer["image"]))
    if answer["error"]:  # a client that is told so does not wait for more
        yield json.dumps({"errorDetail": {"message": answer["error"]}, "error": answer["error"]}).encode() + b"\r\n"


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _wait(files: Collection[int]) -> set[int]:
    return set(select(list(files), [], [])[0])
