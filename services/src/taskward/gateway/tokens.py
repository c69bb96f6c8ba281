"""Which log a token opens, and which task's shell a secret: one look-up in Redis.

The token is the secret, 128 random bits or more, so the look-up by the exact key gives nothing away that could be
searched for step by step; what has not the form of a token never reaches Redis.
"""

import json
import random
import re
import time
from collections.abc import Callable
from typing import Final, Protocol

from taskward.core import keys
from taskward.core.errors import ConfigurationError
from taskward.core.ids import RunId
from taskward.gateway.errors import LogRefused, RegistryUnreachable, UnknownToken
from taskward.gateway.lookup import NoAnswer, Question
from taskward.gateway.settings import Settings

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{22,128}", re.ASCII)
_TIMEOUT_S: Final = 2.0
_ATTEMPTS: Final = 3
_LONGEST_PAUSE_S: Final = 0.1


class Registry(Protocol):
    """Knows what a token opens. Thread-safe."""

    def path(self, token: str) -> str:
        """The path of the log, as its entry has it: not to be trusted.

        Raises:
            UnknownToken: there is no such log.
            LogRefused: there is an entry, but it makes no sense.
            RegistryUnreachable: nobody can tell now.
        """
        ...

    def run(self, secret: str) -> RunId:
        """The run whose shell the secret opens; errors as in `path`."""
        ...

    def is_reachable(self) -> bool:
        """Whether tokens can be looked up now."""
        ...


class RedisRegistry:
    """The `Registry` that executors fill (``tw:log:<token>``, see `core.keys`)."""

    def __init__(self, settings: Settings) -> None:
        """Read the password; nothing is asked yet.

        Raises:
            ConfigurationError: the password file cannot be read.
        """
        self._question = Question(settings.redis_socket, settings.redis_user, _password(settings), _TIMEOUT_S)

    def path(self, token: str) -> str:
        """See `Registry.path`."""
        return _path(self._entry(token, keys.log))

    def run(self, secret: str) -> RunId:
        """See `Registry.run`."""
        return _run(self._entry(secret, keys.shell))

    def _entry(self, token: str, key: Callable[[str], str]) -> bytes:
        if not _TOKEN.fullmatch(token):
            raise UnknownToken
        entry = self._get(key(token))
        if entry is None:
            raise UnknownToken
        return entry

    def is_reachable(self) -> bool:
        """See `Registry.is_reachable`."""
        try:
            self._get(keys.log("-" * 22))
        except RegistryUnreachable:
            return False
        return True

    def _get(self, key: str) -> bytes | None:
        """Redis may be starting anew; a reader who has to come again costs more than a moment.

        One that hangs is not asked again: whoever waits for it has a thread.
        """
        end_s = time.monotonic() + _TIMEOUT_S
        for left in reversed(range(_ATTEMPTS)):
            try:
                return self._question.get(key)
            except NoAnswer as error:
                if not left or time.monotonic() >= end_s:
                    raise RegistryUnreachable(str(error)) from error
                time.sleep(random.uniform(0, _LONGEST_PAUSE_S))  # noqa: S311 - jitter
        raise AssertionError("the last attempt returns or raises")


def _path(entry: bytes) -> str:
    try:
        path = json.loads(entry)["path"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise LogRefused("an entry tw:log:… is not a JSON object with a path") from None
    if not isinstance(path, str):
        raise LogRefused("the path of an entry tw:log:… is not a string")
    return path


def _run(entry: bytes) -> RunId:
    try:
        fields = json.loads(entry)
        return RunId(fields["taskId"], fields["runId"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise LogRefused("an entry tw:shell:… is not a JSON object with taskId and runId") from None


def _password(settings: Settings) -> str:
    try:
        return settings.redis_password_file.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"redis_password_file: {settings.redis_password_file}: {error.strerror}") from error
