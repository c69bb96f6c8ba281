"""What an image says of the containers that are made of it, while it is being built."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass
class Config:
    """In the API's terms; `environment` and `labels` in the order in which they were set."""

    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    command: list[str] | None = None
    entrypoint: list[str] | None = None
    shell: list[str] | None = None
    user: str = ""
    directory: str = ""
    stop_signal: str = ""
    volumes: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    health: Mapping[str, Any] | None = None
    triggers: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From what the daemon tells of an image."""
        return cls(
            environment=dict(each.partition("=")[::2] for each in told.get("Env") or ()),
            labels=dict(told.get("Labels") or {}),
            command=told.get("Cmd"),
            entrypoint=told.get("Entrypoint"),
            shell=told.get("Shell"),
            user=told.get("User") or "",
            directory=told.get("WorkingDir") or "",
            stop_signal=told.get("StopSignal") or "",
            volumes=list(told.get("Volumes") or ()),
            ports=list(told.get("ExposedPorts") or ()),
            health=told.get("Healthcheck"),
            triggers=list(told.get("OnBuild") or ()),
        )

    def as_told(self) -> dict[str, Any]:
        """As the body of ``POST /commit``: an empty entrypoint says that there is none, whatever the container had."""
        return {
            "Env": [f"{name}={value}" for name, value in self.environment.items()],
            "Labels": self.labels,
            "Cmd": self.command,
            "Entrypoint": self.entrypoint or [],
            "Shell": self.shell,
            "User": self.user,
            "WorkingDir": self.directory,
            "StopSignal": self.stop_signal,
            "Volumes": {each: {} for each in self.volumes},
            "ExposedPorts": {each: {} for each in self.ports},
            "Healthcheck": self.health,
            "OnBuild": self.triggers,
        }
