"""The log of a process: one JSON object a line on standard error, so that nothing that is quoted makes a line."""

import json
import logging
import sys
from datetime import UTC, datetime
from types import TracebackType


class JsonLines(logging.Formatter):
    """``{"time", "level", "role", "event"}``, and ``exception`` where there was one; all else is escaped."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "role": self._role,
            "event": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(role: str) -> None:
    """Sends everything to standard error, what ends the process without having been caught, too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(role))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    sys.excepthook = _tell


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger(__name__).critical("ended by %s", kind.__name__, exc_info=(kind, error, trace))
