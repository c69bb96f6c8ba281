"""What a run has at the daemon, by the names that its task knows. What is not in here is not there for the task."""

import re
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from taskward.executor.docker.dind.errors import CONFLICT, NOT_FOUND, WRONG, Refusal, forbidden
from taskward.executor.docker.images.errors import ImageFailed
from taskward.executor.docker.images.reference import Reference

MOST_VOLUMES: Final = 100
MOST_IMAGES: Final = 500
MOST_NAMES: Final = 2000
MOST_EXECUTIONS: Final = 10_000
_ID: Final = re.compile(r"[0-9a-f]{64}")
_BEGINNING: Final = re.compile(r"[0-9a-f]{4,64}")
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}")
_TAG: Final = re.compile(r"[\w][\w.-]{0,127}|sha256:[0-9a-f]{64}", re.ASCII)
_SHA256: Final = "sha256:"


@dataclass(frozen=True)
class Container:
    """One of the run's; `image` and `network` are what the task wrote."""

    id: str
    name: str
    image: str
    image_id: str
    network: str


@dataclass(frozen=True)
class Image:
    """One that the run may use: `pin` is the name that keeps it at the daemon, `size_bytes` what the run made of it."""

    id: str
    pin: str
    size_bytes: int = 0


_Thing = TypeVar("_Thing", Container, Image)


@dataclass
class Holdings:
    """Of one run; threads may share it. Methods that look for something raise `Refusal` when it is not there."""

    most_containers: int
    most_bytes: int
    creating: threading.Lock = field(default_factory=threading.Lock)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _containers: dict[str, Container] = field(default_factory=dict)
    _images: dict[str, Image] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _volumes: dict[str, str] = field(default_factory=dict)
    _executions: set[str] = field(default_factory=set)

    def containers(self) -> list[Container]:
        """All, the newest last."""
        with self._lock:
            return list(self._containers.values())

    def container(self, text: str) -> Container:
        """By id, name, or the beginning of an id."""
        with self._lock:
            if text in self._containers:
                return self._containers[text]
            named = [each for each in self._containers.values() if each.name == text]
            found = named or _with_beginning(text, self._containers.values())
        if len(found) != 1:
            raise Refusal(NOT_FOUND, f"No such container: {text}")
        return found[0]

    def add_container(self, container: Container) -> None:
        """It was made."""
        with self._lock:
            self._containers[container.id] = container

    def rename(self, container: Container, name: str) -> None:
        """For the task alone: the daemon knows another name anyway."""
        with self._lock:
            self.require_free(name)
            self._containers[container.id] = replace(container, name=name)

    def require_free(self, name: str) -> None:
        """That a container can be called so."""
        if not _NAME.fullmatch(name):
            raise Refusal(WRONG, f"Invalid container name ({name[:100]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
        if any(each.name == name for each in self.containers()):
            raise Refusal(CONFLICT, f'Conflict. The container name "/{name}" is already in use')

    def forget_containers(self, ids: Iterable[str]) -> None:
        """They are gone."""
        with self._lock:
            for each in ids:
                self._containers.pop(each, None)

    def images(self) -> list[Image]:
        """All, the newest last."""
        with self._lock:
            return list(self._images.values())

    def image(self, text: str) -> Image:
        """By id, name, or the beginning of an id."""
        with self._lock:
            if (found := self._images.get(text)) or (found := self._images.get(f"{_SHA256}{text}")):
                return found
            if (image_id := self._names.get(reference(text))) is not None:
                return self._images[image_id]
            beginning = _with_beginning(text.removeprefix(_SHA256), self._images.values())
        if len(beginning) != 1:
            raise Refusal(NOT_FOUND, f"No such image: {reference(text)}")
        return beginning[0]

    def names_of(self, image_id: str) -> list[str]:
        """How the task calls an image."""
        with self._lock:
            return sorted(name for name, each in self._names.items() if each == image_id)

    def is_name(self, text: str) -> bool:
        """Whether the task calls an image so; else it is (the beginning of) an id."""
        with self._lock:
            return f"{_SHA256}{text.removeprefix(_SHA256)}" not in self._images and reference(text) in self._names

    def add_image(self, image: Image, *names: str) -> Image:
        """The run may use it. Returns the one that counts: of two pins the first stays.

        Raises:
            Refusal: there are too many, or they are too large.
        """
        with self._lock:
            if len(self._names) + len(names) > MOST_NAMES:
                raise forbidden(f"a task has at most {MOST_NAMES} names of images: remove some")
            kept = self._images.get(image.id, image)
            if image.id not in self._images:
                if len(self._images) >= MOST_IMAGES:
                    raise forbidden(f"a task has at most {MOST_IMAGES} images: remove some")
                total = sum(each.size_bytes for each in self._images.values()) + image.size_bytes
                if self.most_bytes and total > self.most_bytes:
                    raise forbidden(f"images of a task take at most {self.most_bytes} bytes ([docker] dind_max_bytes)")
                self._images[image.id] = image
            self._names |= {reference(name): image.id for name in names}
            return kept

    def forget_name(self, name: str) -> None:
        """The image stays."""
        with self._lock:
            self._names.pop(reference(name), None)

    def forget_image(self, image: Image) -> None:
        """It is gone, and so are its names."""
        with self._lock:
            self._images.pop(image.id, None)
            self._names = {name: each for name, each in self._names.items() if each != image.id}

    def volumes(self) -> dict[str, str]:
        """By the task's name, the daemon's."""
        with self._lock:
            return dict(self._volumes)

    def volume(self, name: str) -> str:
        """The daemon's name."""
        with self._lock:
            if name not in self._volumes:
                raise Refusal(NOT_FOUND, f"get {name[:100]}: no such volume")
            return self._volumes[name]

    def add_volume(self, name: str, own: str) -> None:
        """Raises `Refusal` for a name that no volume has, and when there are too many."""
        if not _NAME.fullmatch(name):
            raise Refusal(WRONG, f"{name[:100]!r} is no name of a volume")
        with self._lock:
            if len(self._volumes) >= MOST_VOLUMES:
                raise forbidden(f"a task has at most {MOST_VOLUMES} volumes: remove some")
            self._volumes[name] = own

    def forget_volume(self, name: str) -> None:
        """It is gone."""
        with self._lock:
            self._volumes.pop(name, None)

    def add_execution(self, execution_id: str) -> None:
        """A further program in a container."""
        with self._lock:
            if len(self._executions) >= MOST_EXECUTIONS:
                raise forbidden(f"a task runs at most {MOST_EXECUTIONS} further programs in its containers")
            self._executions.add(execution_id)

    def execution(self, execution_id: str) -> str:
        """The same."""
        with self._lock:
            if execution_id not in self._executions:
                raise Refusal(NOT_FOUND, f"No such exec instance: {execution_id[:100]}")
        return execution_id


def _with_beginning(text: str, things: "Iterable[_Thing]") -> "list[_Thing]":
    if not _BEGINNING.fullmatch(text):
        return []
    return [each for each in things if each.id.removeprefix(_SHA256).startswith(text)]


def reference(text: str) -> str:
    """However a name is written, the same image has the same.

    Raises:
        Refusal: it is no name of an image, or one that only the worker gives.
    """
    if _ID.fullmatch(text.removeprefix(_SHA256)):
        return text
    try:
        return str(Reference.parse(text))
    except ImageFailed as error:
        raise Refusal(WRONG, error.reason) from error


def named(repository: str, tag: str) -> str:
    """`reference` of a repository and a tag, which may be a digest.

    Raises:
        Refusal: they are no name of an image, or one that only the worker gives.
    """
    if not tag:
        return reference(repository)
    if not _TAG.fullmatch(tag) or "@" in repository:
        raise Refusal(WRONG, f"{tag[:100]!r} is no tag of an image")
    return reference(f"{repository}@{tag}" if ":" in tag else f"{repository}:{tag}")


def new_name() -> str:
    """For what the task gives no name."""
    return f"box_{secrets.token_hex(5)}"
