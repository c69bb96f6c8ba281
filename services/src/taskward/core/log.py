"""The log of a process: one JSON object a line on standard error; a run's lines carry taskId and runId."""

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from taskward.core.clock import format_time, utc_now
from taskward.core.ids import RunId

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonLines(logging.Formatter):
    """``{"time", "level", "role", "event", …}``; whatever is passed as `extra` becomes a field."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": format_time(utc_now()),
            "level": record.levelname.lower(),
            "role": self._role,
            "event": record.getMessage(),
        }
        line.update({k: v for k, v in vars(record).items() if k not in _PLAIN and not k.startswith("_")})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose every line names the run."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Adds the run to what the call passes."""
        kwargs["extra"] = {**(self.extra or {}), **kwargs.get("extra", {})}
        return msg, kwargs


def for_run(logger: logging.Logger, run: RunId) -> RunLogger:
    """`logger`, bound to a run."""
    extra: Mapping[str, object] = {"taskId": run.task_id, "runId": run.run_id}
    return RunLogger(logger, extra)


def configure(role: str, level: str = "INFO") -> None:
    """Sends everything to standard error, where the supervisor collects it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(role))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
