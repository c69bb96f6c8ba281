"""The configuration file: one TOML for the whole worker, each section one frozen class, unknown keys refused by name.

Every process reads the file once, at its start. Secrets are never in it, only paths to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from taskward.core.address import RedisAddress
from taskward.core.errors import ConfigurationError
from taskward.core.layout import Layout
from taskward.core.settings.claimer import ClaimerSettings
from taskward.core.settings.docker import DockerSettings
from taskward.core.settings.environment import EnvironmentSettings
from taskward.core.settings.executor import ExecutorSettings
from taskward.core.settings.images import ImageSettings
from taskward.core.settings.table import refuse_nesting, refuse_unknown, section, tables
from taskward.core.settings.taskcluster import TaskclusterSettings
from taskward.core.settings.uploader import UploaderSettings
from taskward.core.settings.worker import WorkerSettings

__all__ = [
    "OTHER_SECTIONS",
    "SECTIONS",
    "ClaimerSettings",
    "DockerSettings",
    "ExecutorSettings",
    "ImageSettings",
    "Settings",
    "UploaderSettings",
    "WorkerSettings",
]

_LAST_PORT: Final = 65_535


@dataclass(frozen=True)
class Settings:
    """The sections that the queue's processes share; gateway, proxy, signer and keyholder read their own."""

    taskcluster: TaskclusterSettings
    worker: WorkerSettings
    claimer: ClaimerSettings
    executor: ExecutorSettings
    docker: DockerSettings
    images: ImageSettings
    uploader: UploaderSettings
    environment: EnvironmentSettings
    others: Mapping[str, Mapping[str, Any]]
    where: str = field(default="", compare=False)
    """What they were read from, for errors."""

    @property
    def layout(self) -> Layout:
        """Paths below the state directory."""
        return Layout(self.worker.state_dir)

    def redis(self, role: str) -> RedisAddress:
        """How `role` reaches Redis."""
        return RedisAddress(self.layout.redis_socket, role, self.layout.redis_password(role))

    @classmethod
    def load(cls, path: Path) -> Self:
        """The settings in `path`.

        Raises:
            ConfigurationError: the file cannot be read, or says something that is not understood.
        """
        return cls.parse(tables(path), str(path))

    @classmethod
    def parse(cls, data: Mapping[str, Any], where: str) -> Self:
        """The settings in `data`; `where` names them in errors.

        Raises:
            ConfigurationError: a section, key or value that cannot be; the text has `where`, section, key and remedy.
        """
        refuse_nesting(data, where)
        refuse_unknown(data, {*SECTIONS, *OTHER_SECTIONS}, where, "section")
        sections = {name: section(kind, data.get(name, {}), f"{where}: [{name}]") for name, kind in SECTIONS.items()}
        others = {name: data[name] for name in OTHER_SECTIONS if name in data}
        settings = cls(**sections, others=others, where=where)
        if settings.executor.rdp_first_port + settings.worker.capacity > _LAST_PORT:
            raise ConfigurationError(f"{where}: [executor] rdp_first_port: must leave a port for each executor")
        return settings


SECTIONS: Final[dict[str, type[Any]]] = {
    "taskcluster": TaskclusterSettings,
    "worker": WorkerSettings,
    "claimer": ClaimerSettings,
    "executor": ExecutorSettings,
    "docker": DockerSettings,
    "images": ImageSettings,
    "uploader": UploaderSettings,
    "environment": EnvironmentSettings,
}
"""Those that are read here."""

OTHER_SECTIONS: Final = ("gateway", "proxy", "signer", "keyholder", "decrypter")
"""Those that their processes read themselves."""
