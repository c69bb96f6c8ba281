"""Where Redis is; apart from `connection`, so that who only reads settings does not load its library."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis is and who we are there; the password is a file that only the role can read."""

    socket: Path
    user: str
    password_file: Path
