"""Downloaded files, kept for the next task that wants them.

One file for each key (an artifact, a URL), owned by root, unreadable and unchangeable for tasks. The first task that
wants it downloads it: its own process writes into a file that root made and hands to nobody else. Others that want the
same at that time wait for it. Every use begins with a new hash of the file, made with the rights of the using task.

What one task may read is no reason to give it to another: content of an artifact that is not public is given only
after the queue, asked with the scopes of the task that wants it, has said that it may have it.
"""

import hashlib
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from taskward.executor.collect import is_written
from taskward.executor.mounts.errors import MountFailed
from taskward.executor.mounts.request import ArtifactContent, Content, Downloadable, IndexedContent, InlineContent
from taskward.executor.mounts.shelf import Facts, Item, Shelf, id_of
from taskward.executor.mounts.site import Site

_PART: Final = "part"
_PAUSE_S: Final = 0.1
_TASK_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")


class Fetched:
    """Content that is here; the caller closes it.

    Attributes:
        fd: descriptor to read it from.
        sha256: of all of it.
        place: for people.
    """

    def __init__(self, fd: int, sha256: str, place: str) -> None:
        self.fd, self.sha256, self.place = fd, sha256, place

    def __enter__(self) -> "Fetched":
        return self

    def __exit__(self, *_unused: object) -> None:
        os.close(self.fd)


class Downloads:
    """For one task."""

    def __init__(self, site: Site, shelf: Shelf) -> None:
        self._site, self._shelf = site, shelf.prepare()

    def get(self, content: Content) -> Fetched:
        """The content, from wherever it is quickest.

        Raises:
            MountFailed: it cannot be had, or it is not what the task requires.
        """
        if isinstance(content, InlineContent):
            return _in_memory(content)
        if isinstance(content, IndexedContent):
            content = self._resolve(content)
        waiting = False
        while True:
            found = self._existing(content)
            if found is not None:
                return found
            item = self._shelf.take(id_of(content.key), make=True)
            if item is not None and item.facts is None:
                return self._new(item, content)
            if item is not None:
                item.close()
            elif not waiting:
                waiting = True
                self._site.say(f"Waiting for another task that is downloading {content}")
            self._site.watch.check()
            time.sleep(_PAUSE_S)

    def _resolve(self, content: IndexedContent) -> ArtifactContent:
        try:
            answer, _ = self._site.porter.ask("find", url=self._site.api("index", "task", content.namespace))
        except MountFailed as error:
            raise MountFailed(f"Could not find {content.namespace} in the index: {_plain(error)}") from error
        if not _TASK_ID.fullmatch(answer["taskId"]):
            raise MountFailed(f"Could not find {content.namespace} in the index: it names no taskId")
        return ArtifactContent(answer["taskId"], content.artifact)

    def _existing(self, content: Downloadable) -> Fetched | None:
        """What is here already and good; what is not good is thrown away."""
        item = self._shelf.take(id_of(content.key), shared=True)
        if item is None:
            return None
        try:
            if item.facts is None:
                return None
            self._authorise(content)
            fd = os.open(item.content, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                sha256 = self._site.porter.ask("hash", fd)[0]["sha256"]
                if self._is_good(item, content, sha256):
                    return Fetched(os.dup(fd), sha256, str(item.content))
            finally:
                os.close(fd)
            item.discard()
        except FileNotFoundError:  # somebody cleared up by hand
            item.discard()
        finally:
            item.close()
        return None

    def _is_good(self, item: Item, content: Downloadable, sha256: str) -> bool:
        site, place, facts = self._site, item.content, item.facts
        if content.sha256 and sha256 != content.sha256:
            site.say(
                f"Found existing download of {content.key} ({place}) with SHA256 {sha256} but task definition "
                f"explicitly requires {content.sha256} so deleting it"
            )
            return False
        if facts is None or sha256 != facts.sha256:
            site.warn(f"Found existing download of {content.key} ({place}) damaged, so deleting it")
            return False
        if content.sha256:
            site.say(f"Found existing download for {content.key} ({place}) with correct SHA256 {sha256}")
        else:
            site.warn(
                f"No SHA256 specified in task mounts for {content.key} - SHA256 from downloaded file {place} "
                f"is {sha256}."
            )
        with suppress(FileNotFoundError):
            item.touch()
        return True

    def _authorise(self, content: Downloadable) -> None:
        if isinstance(content, ArtifactContent) and not content.artifact.startswith("public/"):
            try:
                self._site.porter.ask("authorise", url=self._url(content))
            except MountFailed as error:
                raise MountFailed(f"Could not fetch from {content}: {_plain(error)}") from error

    def _new(self, item: Item, content: Downloadable) -> Fetched:
        try:
            fetched = self._download(item, content)
        except BaseException:
            item.discard()
            raise
        item.close()
        return fetched

    def _download(self, item: Item, content: Downloadable) -> Fetched:
        site, place = self._site, item.content
        site.say(f"Downloading {content} to {place}")
        part = os.open(item.directory / _PART, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            to_proxy = isinstance(content, ArtifactContent)
            told, _ = site.porter.ask("download", part, url=self._url(content), to_proxy=to_proxy)
        except MountFailed as error:
            raise MountFailed(f"Could not fetch from {content} into file {place}: {_plain(error)}") from error
        finally:
            os.close(part)
        sha256, size = str(told["sha256"]), int(told["size"])
        site.say(f"Downloaded {size} bytes with SHA256 {sha256} from {content} to {place}")
        self._require(content, sha256, place)
        fd = self._accept(item, size)
        now = time.time()
        item.complete(Facts(content.key, now, now, sha256=sha256))
        return Fetched(fd, sha256, str(place))

    def _require(self, content: Downloadable, sha256: str, place: Path) -> None:
        if not content.sha256:
            self._site.warn(
                f"Download {place} of {content} has SHA256 {sha256} but task payload does not declare a required "
                "value, so content authenticity cannot be verified"
            )
        elif content.sha256 == sha256:
            self._site.say(f"Content from {content} ({place}) matches required SHA256 {sha256}")
        else:
            raise MountFailed(
                f"Download {place} of {content} has SHA256 {sha256} but task definition explicitly requires "
                f"{content.sha256}; not retrying download as there were no connection failures and HTTP response "
                "status code was 200"
            )

    @staticmethod
    def _accept(item: Item, size: int) -> int:
        """Ours from now on: nobody can still be writing to it."""
        part = item.directory / _PART
        fd = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if os.fstat(fd).st_size != size or is_written(fd):
                raise MountFailed("the download was changed after it was complete")
            os.fchmod(fd, 0o400)
            part.rename(item.content)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _url(self, content: Downloadable) -> str:
        if isinstance(content, ArtifactContent):
            return self._site.api("queue", "task", content.task_id, "artifacts", content.artifact)
        return content.url


def _in_memory(content: InlineContent) -> Fetched:
    fd = os.memfd_create("content", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as stream:
        stream.write(content.data)
    return Fetched(fd, hashlib.sha256(content.data).hexdigest(), str(content))


def _plain(error: MountFailed) -> str:
    return str(error).removeprefix("[mounts] ")
