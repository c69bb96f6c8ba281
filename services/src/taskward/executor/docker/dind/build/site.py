"""What a build needs of the API: containers that end as images."""

import base64
import json
import posixpath
import tarfile
from collections.abc import Iterable, Iterator
from typing import IO, Any, Final

from taskward.executor.docker.dind.build.errors import BuildFailed
from taskward.executor.docker.dind.build.image import Config
from taskward.executor.docker.dind.errors import NOT_FOUND, Refusal
from taskward.executor.docker.dind.holdings import reference
from taskward.executor.docker.dind.wire import Wire
from taskward.executor.docker.execution import frames

_NOTHING: Final = ["taskward-build"]
"""The command of containers that are never started."""

_STAT: Final = "X-Docker-Container-Path-Stat"
_DIRECTORY: Final = 1 << 31
_SMALL_BYTES: Final = 1 << 20
_EMPTY: Final = bytes(2 * tarfile.BLOCKSIZE)


class Site:
    """Of one build: what it makes on its way bears names that begin with `token`, from which others clear it away."""

    def __init__(self, wire: Wire, token: str) -> None:
        self._wire, self._token = wire, token
        self._number = 0

    def image(self, name: str, *, fresh: bool) -> tuple[str, Config]:
        """Id and configuration; pulled where the task does not have it, or a `fresh` one is wanted.

        Raises:
            Refusal: it cannot be had.
        """
        reference(name)
        if fresh:
            self._pull(name)
        try:
            told = self._wire.ask("GET", "images", name, "json")
        except Refusal as refusal:
            if refusal.status != NOT_FOUND or fresh:
                raise
            self._pull(name)
            told = self._wire.ask("GET", "images", name, "json")
        return str(told["Id"]), Config.of(told.get("Config") or {})

    def scratch(self) -> str:
        """An image with nothing in it."""
        query = {"fromSrc": "-", "repo": self._token, "tag": self._next()}
        with self._wire.open("POST", "images", "create", query=query, content=iter([_EMPTY])) as answer:
            return str(list(answer.lines())[-1]["status"])

    def container(self, image: str, config: Config, argv: list[str] | None = None) -> str:
        """Its id; it is made to run `argv`, or not to run."""
        wanted = {
            "Image": image, "Entrypoint": argv or _NOTHING, "Cmd": None, "Env": config.as_told()["Env"],
            "User": config.user, "WorkingDir": config.directory, "AttachStdout": True, "AttachStderr": True,
        }  # fmt: skip
        query = {"name": f"{self._token}-{self._next()}"}
        return str(self._wire.ask("POST", "containers", "create", query=query, body=wanted)["Id"])

    def run(self, container: str) -> Iterator[str]:
        """What it prints, until it has ended.

        Raises:
            BuildFailed: with another exit code than 0.
        """
        query = {"stream": "1", "stdout": "1", "stderr": "1"}
        connection = self._wire.upgrade("containers", container, "attach", query=query)
        with connection:
            self._wire.ask("POST", "containers", container, "start")
            for _, text in frames(connection):
                yield text.decode(errors="replace")
        with self._wire.open("POST", "containers", container, "wait") as answer:
            code = int(answer.document()["StatusCode"])
        if code:
            raise BuildFailed(f"returned a non-zero code: {code}")

    def commit(self, container: str, config: Config, comment: str = "") -> str:
        """The image that it is now; the container goes."""
        query = {"container": container, "repo": self._token, "tag": self._next(), "pause": "0", "comment": comment}
        with self._wire.open("POST", "commit", query=query, body=config.as_told()) as answer:
            image = str(answer.document()["Id"])
        self.remove(container)
        return image

    def remove(self, container: str) -> None:
        """Whatever it is doing."""
        self._wire.ask("DELETE", "containers", container, query={"force": "1", "v": "1"})

    def put(self, container: str, content: Iterable[bytes], directory: str = "/") -> None:
        """A tar archive is unpacked there."""
        with self._wire.open("PUT", "containers", container, "archive", query={"path": directory}, content=content):
            pass

    def is_directory(self, container: str, path: str) -> bool | None:
        """None where nothing is."""
        told = self._stat(container, path)
        return bool(int(told["mode"]) & _DIRECTORY) if told is not None else None

    def real(self, container: str, path: str) -> str:
        """Where `path` leads inside the container, when every symbolic link is followed."""
        told = self._stat(container, path)
        return str(told.get("linkTarget") or path) if told is not None else path

    def missing_above(self, container: str, path: str) -> list[str]:
        """Directories that must be made before `path` can be, the highest first."""
        found: list[str] = []
        while (path := posixpath.dirname(path)) != "/" and self.is_directory(container, path) is None:
            found.insert(0, path)
        return found

    def fetch(self, container: str, path: str, file: IO[bytes], most_bytes: int) -> None:
        """What is at `path`, as a tar archive, into `file`."""
        left = most_bytes or 1 << 62
        with self._wire.open("GET", "containers", container, "archive", query={"path": path}) as answer:
            for piece in answer.pieces():
                left -= len(piece)
                if left < 0:
                    raise BuildFailed(f"{path} is larger than {most_bytes} bytes")
                file.write(piece)
        file.seek(0)

    def small_file(self, container: str, path: str) -> str:
        """The text of a small file of the image; empty where there is none."""
        try:
            answer = self._wire.open("GET", "containers", container, "archive", query={"path": path})
            with answer, tarfile.open(fileobj=answer.as_file(), mode="r|") as found:
                member = found.next()
                content = found.extractfile(member) if member is not None and member.isreg() else None
                return content.read(_SMALL_BYTES).decode(errors="replace") if content is not None else ""
        except Refusal as refusal:
            if refusal.status == NOT_FOUND:
                return ""
            raise
        except tarfile.TarError as error:
            raise BuildFailed(f"{path} of the image cannot be read: {error}") from error

    def _stat(self, container: str, path: str) -> dict[str, Any] | None:
        """None where nothing is."""
        try:
            with self._wire.open("HEAD", "containers", container, "archive", query={"path": path}) as answer:
                told: dict[str, Any] = json.loads(base64.b64decode(answer.header(_STAT)))
        except Refusal as refusal:
            if refusal.status == NOT_FOUND:
                return None
            raise
        return told

    def tag(self, image: str, name: str) -> None:
        """One more name for the task."""
        repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "latest")
        self._wire.ask("POST", "images", image, "tag", query={"repo": repository, "tag": tag})

    def _pull(self, name: str) -> None:
        has_tag = "@" in name or ":" in name.rpartition("/")[2]
        query: dict[str, Any] = {"fromImage": name, "tag": "" if has_tag else "latest"}
        with self._wire.open("POST", "images", "create", query=query) as answer:
            for _ in answer.lines():
                pass

    def _next(self) -> str:
        self._number += 1
        return str(self._number)
