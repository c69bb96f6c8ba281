"""What a run's container is given beside its image and command; features add to it before the container is made."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Bind:
    """A directory or file of this host, seen in the container."""

    source: Path
    target: str
    read_only: bool = False


@dataclass
class Outfit:
    """Grows while features start.

    Attributes:
        image: the id of the image.
        entrypoint: replaces the image's; None to keep that.
        environment: what features offer; the payload may say otherwise.
        hosts: name in the container → address.
        binds: directories and files of this host.
        devices: paths of device nodes, the same in the container.
        capabilities: added to what containers usually have.
        security: options like ``seccomp=unconfined``.
        privileged: everything that root may do on this host.
        processors: a list as the kernel writes it (``0``, ``2-3``); empty for all.
    """

    image: str = ""
    entrypoint: tuple[str, ...] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)
    binds: list[Bind] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    capabilities: list[str] = field(default_factory=list)
    security: list[str] = field(default_factory=list)
    privileged: bool = False
    processors: str = ""
