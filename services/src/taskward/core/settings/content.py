"""What is in a file that a person names: never more than expected, and never waited for."""

import os
import stat
from pathlib import Path

from taskward.core.errors import ConfigurationError


def content(path: Path, most_bytes: int) -> str:
    """The text of an ordinary file.

    Raises:
        ConfigurationError: it cannot be read, is something else (a pipe, a device), too large, or no text; the text
            begins with the path.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ConfigurationError(f"{path}: not a regular file; name one")
            data = stream.read(most_bytes + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > most_bytes:
        raise ConfigurationError(f"{path}: larger than {most_bytes} bytes; name another file")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8: {error}") from error
