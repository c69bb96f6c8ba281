"""What an encrypted variable says once it is open, and whether its task may have it: no input or output here.

The checks, their order and their words are docker-worker's; other programs read them in logs.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final, Self

from taskward.signer import jsontext

MAX_VARIABLE_BYTES: Final = 128 * 1024 - 1
"""The longest ``NAME=value`` that Linux gives to a program (MAX_ARG_STRLEN, with the final NUL)."""

_RESERVED: Final = ("TASK_ID", "RUN_ID")
_VERSIONS: Final = (1, "1")


class ViolationError(Exception):
    """The message is not for this task now, or is none; the text is public and quotes nothing of the message."""


@dataclass(frozen=True)
class Message:
    """One encrypted variable; `task_id` is whatever JSON value was there, times are milliseconds since the epoch."""

    version: Any
    task_id: Any
    start_ms: float
    end_ms: float
    name: str
    value: str = field(repr=False)

    @classmethod
    def parse(cls, plaintext: bytes) -> Self:
        """Raises `ViolationError`; keys beyond the six have no meaning."""
        try:
            table = jsontext.parse(plaintext)
        except jsontext.BadJsonError:
            raise ViolationError("the message of the env payload is not JSON") from None
        if not isinstance(table, dict):
            raise ViolationError("the message of the env payload is not a JSON object")
        for key in ("messageVersion", "taskId", "startTime", "endTime", "name", "value"):
            if key not in table:
                raise ViolationError(f"the message of the env payload has no {key}")
        return cls(
            version=table["messageVersion"],
            task_id=table["taskId"],
            start_ms=_time(table, "startTime"),
            end_ms=_time(table, "endTime"),
            name=_text(table, "name"),
            value=_text(table, "value"),
        )

    def check(self, task_id: str, names: Collection[str], now_ms: float) -> None:
        """Raises `ViolationError` unless it is for this task and this moment, and no one of `names`."""
        refusals = (
            (self.name in _RESERVED, "an environment variable conflicts with an existing environment variable"),
            (self.name in names, "an environment variable has been duplicated in the task payload"),
            (self.version not in _VERSIONS, "the version of the message is not supported"),
            (self.task_id != task_id, "the taskId of the env payload does not match the taskId of the task"),
            (self.start_ms > now_ms, "the start time in the env payload is in the future"),
            (now_ms > self.end_ms, "the end time in the env payload is in the past"),
        )
        for refused, text in refusals:
            if refused:
                raise ViolationError(text)
        self._check_usable()

    def _check_usable(self) -> None:
        """What no program could be started with."""
        if not self.name or "=" in self.name or "\0" in self.name:
            raise ViolationError("the name in the env payload is not a name for an environment variable")
        if "\0" in self.value:
            raise ViolationError("the value in the env payload has a NUL character, which no variable can have")
        try:
            size_bytes = len(f"{self.name}={self.value}".encode())
        except UnicodeEncodeError:
            raise ViolationError("the env payload has half a surrogate pair, which is no text") from None
        if size_bytes > MAX_VARIABLE_BYTES:
            raise ViolationError(f"the environment variable is longer than {MAX_VARIABLE_BYTES} bytes")


def _time(table: dict[str, Any], key: str) -> float:
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ViolationError(f"the {key} of the env payload is not a number of milliseconds")
    return value


def _text(table: dict[str, Any], key: str) -> str:
    value = table[key]
    if not isinstance(value, str):
        raise ViolationError(f"the {key} of the env payload is not a string")
    return value
