"""Names of images, as the daemon understands them."""

import re
from dataclasses import dataclass, field
from typing import Final, Self

from taskward.executor.docker.images.errors import ImageFailed

OWN: Final = "taskward/"
"""Names that begin so are given by this worker; no task may ask for them."""

_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST: Final = (
    r"(?:localhost(?=[:/])|[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+|[a-zA-Z0-9-]+(?=:)|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?"
)
_NAME: Final = re.compile(
    rf"(?P<repository>(?:{_HOST}/)?{_PART}(?:/{_PART})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?",
    re.ASCII,
)
_LONGEST: Final = 255
_HUB: Final = ("docker.io/", "index.docker.io/")


@dataclass(frozen=True)
class Reference:
    """An image in a registry. However a task writes a name, the same image is the same reference.

    Attributes:
        repository: as the daemon lists it, with the registry's host unless that is Docker Hub.
        tag: empty only if there is a digest.
        digest: ``sha256:…``, or empty.
        written: the name as the task has it, with a tag.
    """

    repository: str
    tag: str
    digest: str
    written: str = field(compare=False)

    @classmethod
    def parse(cls, name: str) -> Self:
        """From what a task wrote.

        Raises:
            ImageFailed: it is no such name, or one that only this worker uses.
        """
        found = _NAME.fullmatch(name)
        if found is None or len(found["repository"]) > _LONGEST:
            raise ImageFailed(f"{name[:300]!r} is no name of an image: expected [host/]path[:tag][@sha256:digest]")
        repository, digest = _familiar(found["repository"]), found["digest"] or ""
        if repository in ("sha256", "sha512"):
            raise ImageFailed(f"{name!r} is the id of an image: tasks name images of registries")
        if repository.startswith(OWN):
            raise ImageFailed(f"{name!r} is a name that only the worker gives: use the image's task or index entry")
        tag = found["tag"] or ("" if digest else "latest")
        return cls(repository, tag, digest, name if found["tag"] or digest else f"{name}:latest")

    @property
    def host(self) -> str:
        """Of the registry; empty for Docker Hub."""
        return _host(self.repository)

    @property
    def path(self) -> str:
        """The repository inside its registry."""
        return self.repository.removeprefix(f"{self.host}/") if self.host else self.repository

    def names(self, tags: list[str] | None, digests: list[str] | None) -> bool:
        """Whether an image that the daemon lists with these names is this one, and not one whose id looks like it."""
        if self.digest:
            return f"{self.repository}@{self.digest}" in (digests or ())
        return f"{self.repository}:{self.tag}" in (tags or ())

    def __str__(self) -> str:
        """What the daemon is asked for; a digest says more than the tag beside it."""
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"


def _host(repository: str) -> str:
    first, _, rest = repository.partition("/")
    return first if rest and (set(first) & set(".:") or first == "localhost") else ""


def _familiar(repository: str) -> str:
    """Docker Hub has several names, and ``library/`` for what has none."""
    short = repository
    for prefix in _HUB:
        short = short.removeprefix(prefix)
    return repository if _host(short) and short != repository else short.removeprefix("library/")
