"""Images of containers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taskward.core.errors import ConfigurationError


@dataclass(frozen=True)
class ImageSettings:
    """[images]: file systems of containers; 0 switches a limit off.

    `registries` names, for ``<host>/<user>`` or ``<host>``, a JSON file with ``username`` and ``password`` that nobody
    but the worker may read; tasks need the image's scope then. Names of the form ``<user>/<image>`` are looked up at
    `default_registry`. `pull` is ``always`` (a tag is asked for again when `pull_again_after_s` have passed) or
    ``if-missing``. A registry that sends nothing for `stall_s` is given up. An image that a task made may take
    `timeout_s`, and be `max_download_bytes` large, `max_unpacked_bytes` when unpacked, which is at most `max_ratio`
    times more, with `max_entries` files. What was not used for `expire_after_s` is removed.
    """

    registries: Mapping[str, Any] = field(default_factory=dict)
    default_registry: str = "registry.hub.docker.com"
    pull: str = "always"
    pull_again_after_s: float = 300.0
    stall_s: float = 120.0
    timeout_s: int = 3600
    max_download_bytes: int = 20 << 30
    max_unpacked_bytes: int = 60 << 30
    max_ratio: int = 200
    max_entries: int = 2_000_000
    expire_after_s: float = 7200.0

    def __post_init__(self) -> None:
        if self.pull not in ("always", "if-missing"):
            raise ConfigurationError("pull: must be 'always' or 'if-missing'")
        for name, path in self.registries.items():
            if not isinstance(path, str) or not path.startswith("/"):
                raise ConfigurationError(
                    f"registries: {name!r} must name the absolute path of a JSON file with username and password; "
                    "keys with dots are to be quoted"
                )
