"""Images that tasks have made: from an artifact to the daemon, under a name of our own."""

import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from socket import socket
from typing import Any, Final

from taskward.core.settings import Settings
from taskward.executor.docker.daemon import Daemon, DaemonRefused
from taskward.executor.docker.images.conversation import messages
from taskward.executor.docker.images.errors import ImageFailed
from taskward.executor.docker.images.library import Library
from taskward.executor.docker.images.platform import Platform
from taskward.executor.docker.images.progress import printable
from taskward.executor.docker.images.reference import OWN
from taskward.executor.docker.images.rewrite import Limits, rewriter
from taskward.executor.docker.images.site import Site
from taskward.executor.docker.request import Image
from taskward.executor.docker.scopes import not_authorized
from taskward.executor.errors import EngineFailed
from taskward.executor.mounts.errands import Answer, serve
from taskward.executor.mounts.errors import MountFailed

_REPOSITORY: Final = f"{OWN}artifact"
_TASK_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_PIECE_BYTES: Final = 1 << 20
_SLACK_S: Final = 60


@dataclass(frozen=True)
class Artifact:
    """Where an image comes from."""

    task_id: str
    path: str

    @property
    def key(self) -> str:
        """What the worker knows it by."""
        return f"artifact:{self.task_id}:{self.path}"

    @property
    def public(self) -> bool:
        """Whether everybody may read it."""
        return self.path.removeprefix("/").startswith("public/")


def name_of(sha256: str) -> str:
    """The image's name at the daemon: it follows from the content, whoever made it, and no task can ask for it."""
    return f"{_REPOSITORY}:{sha256}"


def resolve(site: Site, image: Image) -> Artifact:
    """Which artifact the payload means; the index is asked with the scopes of the task.

    Raises:
        ImageFailed: the index does not know.
    """
    if image.type == "task-image":
        return Artifact(image.task_id, image.path)
    try:
        answer, _ = site.porter.ask("find", url=site.api("index", "task", image.namespace))
    except MountFailed as error:
        reason = f'Could not find a task associated with "{image.namespace}" namespace. {_plain(error)}'
        raise ImageFailed(reason) from error
    if not _TASK_ID.fullmatch(answer["taskId"]):
        raise ImageFailed(f'Could not find a task associated with "{image.namespace}" namespace.')
    return Artifact(answer["taskId"], image.path)


def authorise(site: Site, artifact: Artifact, wanted: Image) -> None:
    """That somebody else has brought an image is no reason to give it to this task: the queue says whether it may.

    Raises:
        ImageFailed: it may not.
    """
    if artifact.public:
        return
    try:
        site.porter.ask("authorise", url=_url(site, artifact))
    except MountFailed as error:
        raise _not_had(artifact, wanted, error) from error


def fetch_and_load(site: Site, library: Library, artifact: Artifact, wanted: Image, place: Path) -> str:
    """Downloads, rewrites and loads; the sha256 of the artifact, from which `name_of` makes the image's name.

    Args:
        site: the task that wants it.
        library: asked whether it has the image.
        artifact: what to download.
        wanted: what the payload asks for.
        place: a directory of ours for the download, which is gone afterwards.

    Raises:
        ImageFailed: it cannot be had, or it is no image for here.
        EngineFailed: the daemon is gone.
        TaskEnded: the run must stop.
    """
    site.say(f'Downloading artifact "{artifact.path}" from task ID: {artifact.task_id}.')
    try:
        with site.downloaded(_url(site, artifact), place) as (file, sha256):
            site.say("Downloaded artifact successfully.")
            site.say(f"Downloaded {os.fstat(file).st_size / 1e6:.2f} mb")
            library.intend(artifact.key, name_of(sha256))
            if library.inspect(name_of(sha256)) is None:
                load(site, file, sha256, name_of(sha256), library.here)
    except MountFailed as error:
        raise _not_had(artifact, wanted, error) from error
    return sha256


def load(site: Site, file: int, sha256: str, name: str, here: Platform) -> None:
    """The archive in `file`, which has that hash, as `name`.

    Two processes at once: one takes the archive apart, the other gives what it writes to the daemon.

    Raises:
        ImageFailed: it is no image for here.
        EngineFailed: the daemon is gone.
        TaskEnded: the run must stop.
    """
    images = site.task.settings.images
    limits = Limits(images.max_unpacked_bytes, images.max_ratio, images.max_entries, float(images.timeout_s))
    rewriting = site.as_task(rewriter(limits, here))
    with rewriting, site.as_ourselves(loader(site.task.settings)) as loading:
        read, write = _large_pipe()
        try:
            loading.send("load", read)
            rewriting.send("rewrite", file, write, sha256=sha256, name=name)
        finally:
            os.close(read)
            os.close(write)
        site.say("Loading docker image")
        try:
            rewriting.receive("rewrite")
        except MountFailed as error:
            raise ImageFailed(f"Error loading docker image. {_plain(error)}") from error
        answer, _ = loading.receive("load")
    if "away" in answer:
        raise EngineFailed(answer["away"])
    if "reason" in answer:
        raise ImageFailed(f"Error loading docker image. {printable(answer['reason'])}")


def _large_pipe() -> tuple[int, int]:
    read, write = os.pipe2(os.O_CLOEXEC)
    with suppress(OSError):  # a user may have used up what it may have of this memory
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIECE_BYTES)
    return read, write


def loader(settings: Settings) -> Callable[[socket], None]:
    """What to call in a process of ours; it answers to ``load`` with an open archive."""

    def load(_request: Mapping[str, Any], received: Sequence[int]) -> Answer:
        daemon = Daemon(replace(settings.docker, timeout_s=settings.images.timeout_s))
        headers = {"Content-Type": "application/x-tar"}
        try:
            for _ in messages(daemon, "load the image", "/images/load", {}, headers, _pieces(received[0])):
                pass
        except DaemonRefused as error:
            return {"reason": error.reason}, ()
        except EngineFailed as error:
            return {"away": str(error)}, ()
        return {}, ()

    return serve({"load": load}, float(settings.images.timeout_s + _SLACK_S))


def _pieces(file: int) -> Iterator[bytes]:
    while piece := os.read(file, _PIECE_BYTES):
        yield piece


def _url(site: Site, artifact: Artifact) -> str:
    return site.api("queue", "task", artifact.task_id, "artifacts", artifact.path)


def _not_had(artifact: Artifact, wanted: Image, error: MountFailed) -> ImageFailed:
    reason = _plain(error)
    if " status 401 " in reason or " status 403 " in reason:
        return ImageFailed(f"{not_authorized(wanted)} ({reason})")
    return ImageFailed(f'Could not download artifact "{artifact.path}" from task "{artifact.task_id}". Error: {reason}')


def _plain(error: MountFailed) -> str:
    return str(error).removeprefix("[mounts] ")
