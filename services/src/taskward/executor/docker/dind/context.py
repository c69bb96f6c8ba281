"""What the handlers of one run's requests share, and how a handler is found."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

from taskward.executor.docker.dind.config import Confinement
from taskward.executor.docker.dind.exchange import Exchange
from taskward.executor.docker.dind.holdings import Holdings
from taskward.executor.docker.dind.wire import Wire

NAME: Final = r"([A-Za-z0-9][A-Za-z0-9_./:@-]*?)"
"""Of anything: it is looked up among what the run has, and goes no further."""


class Porter(Protocol):
    """Does what must not be done by the process that reads a task's requests."""

    def pull(self, name: str, pin: str) -> None:
        """Makes sure that the daemon has an image, under `pin`, as it does for ``payload.image``.

        Raises:
            Refusal: it cannot be had.
        """
        ...

    def names(self, file: int) -> list[str]:
        """How what ``docker save`` wrote calls its image.

        Raises:
            Refusal: it is no archive of one image.
        """
        ...

    def load(self, file: int, sha256: str, pin: str) -> None:
        """Loads it as `pin`; it has that hash.

        Raises:
            Refusal: it is no image for here.
        """
        ...

    def build(self, request: dict[str, Any], context: Iterable[bytes], exchange: Exchange,
              done: Callable[[str], None]) -> None:  # fmt: skip
        """Has an image built by a process with the task's rights, which answers `exchange`.

        `done` is told the image's id, or nothing, before the client knows that the build is over.

        Raises:
            Refusal: it could not begin.
        """
        ...


@dataclass(frozen=True)
class Context:
    """Of one run.

    Attributes:
        wire: to the daemon.
        main: name of the task's own container.
        pins: repository and beginning of the tags that keep images at the daemon.
        registries: from which a task may pull: hosts, ``docker.io``, or ``*`` for all.
        scratch: a directory for files without a name.
    """

    wire: Wire
    holdings: Holdings
    confinement: Confinement
    porter: Porter
    main: str
    pins: tuple[str, str]
    registries: tuple[str, ...]
    scratch: Path

    def pin(self, token: str) -> tuple[str, str]:
        """Repository and tag."""
        repository, prefix = self.pins
        return repository, f"{prefix}{token}"


Handler = Callable[..., None]


@dataclass(frozen=True)
class Route:
    """`handler` is called with the context, the exchange, and what the parentheses of `path` match."""

    method: str
    path: str
    handler: Handler
    parameters: frozenset[str] = frozenset()

    @cached_property
    def pattern(self) -> "re.Pattern[str]":
        """`path`, compiled."""
        return re.compile(self.path)


def route(method: str, path: str, handler: Handler, *parameters: str) -> Route:
    """`parameters` of the query are all that may say something."""
    return Route(method, path, handler, frozenset(parameters))
