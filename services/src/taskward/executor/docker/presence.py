"""Whether this worker runs containers at all; imports nothing of Docker, so that others need not."""

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from taskward.core.settings import Settings

_UNIX: Final = "unix"


def has_containers(settings: Settings) -> bool:
    """Whether there is a daemon to be asked; its socket may appear later."""
    if not settings.docker.enabled or os.geteuid() != 0:
        return False
    host = urlsplit(settings.docker.host)
    return host.scheme != _UNIX or Path(host.path).exists()
