"""The deployment of Taskcluster."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskward.core.errors import ConfigurationError

_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9!@/:.+|_-]+")


@dataclass(frozen=True)
class TaskclusterSettings:
    """[taskcluster]: which deployment, and who we are there."""

    root_url: str
    client_id: str
    access_token_file: Path
    certificate_file: Path | None = None
    ca_file: Path | None = None
    timeout_s: float = 30.0
    give_up_after_s: float = 300.0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"https?://[^/\s]+", self.root_url.rstrip("/")):
            raise ConfigurationError(f"root_url: must be http(s)://host[:port], not {self.root_url!r}")
        if not _CLIENT_ID.fullmatch(self.client_id):
            raise ConfigurationError(
                f"client_id: must be the name of a client (letters, digits and !@/:.+|_-), not {self.client_id!r}"
            )
