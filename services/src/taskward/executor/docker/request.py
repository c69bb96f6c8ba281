"""What only a container can be asked for: the part of docker-worker's payload that other tasks do not have."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Device = Literal["loopbackVideo", "loopbackAudio", "hostSharedMemory", "kvm", "phone"]


def backing_log_of(live_log: str) -> str:
    """``public/logs/live.log`` → ``public/logs/live_backing.log``."""
    stem, extension = posixpath.splitext(live_log)
    return f"{stem}_backing{extension}"


def saved_cache(name: str) -> str:
    """The artifact as which ``features.dockerSave`` publishes a cache."""
    return f"public/cache/{name}.tar"


@dataclass(frozen=True)
class Image:
    """Where the container's file system comes from; what the type does not have is empty.

    Attributes:
        type: ``docker-image``: `name`, from a registry; ``indexed-image``: the artifact `path` of the task that the
            index knows as `namespace`; ``task-image``: the artifact `path` of the task `task_id`.
    """

    type: Literal["docker-image", "indexed-image", "task-image"]
    name: str = ""
    namespace: str = ""
    task_id: str = ""
    path: str = ""

    def __str__(self) -> str:
        match self.type:
            case "docker-image":
                return self.name
            case "indexed-image":
                return f"{self.path} of {self.namespace}"
            case _:
                return f"{self.path} of task {self.task_id}"


@dataclass(frozen=True)
class DockerRequest:
    """``payload`` without what all engines share.

    Attributes:
        image: what to start.
        command: its arguments; empty for those that the image itself names.
        caches: name → absolute path in the container.
        privileged: ``capabilities.privileged``.
        disable_seccomp: ``capabilities.disableSeccomp``.
        devices: those of ``capabilities.devices`` that are asked for.
        phone: what ``capabilities.devices.phone`` says of the device; None when it is not there.
        graphs: paths of task graphs; the service that took them is gone, so nobody reads them.
    """

    image: Image
    command: tuple[str, ...] = ()
    caches: Mapping[str, str] = field(default_factory=dict)
    privileged: bool = False
    disable_seccomp: bool = False
    devices: frozenset[Device] = frozenset()
    phone: Mapping[str, str] | None = None
    graphs: tuple[str, ...] = ()
