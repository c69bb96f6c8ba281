"""`Commands` over connections of our own: what a process has of Redis that does without redis-py (ADR 8)."""

# ruff: noqa: D102 - `Commands` tells what each method promises

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from taskward.core.address import RedisAddress
from taskward.core.link import Link, NoAnswer, Refusal, Word

ANSWERS_WITHIN_S: Final = 15.0
RETRIES: Final = 120
FIRST_PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 1.0
_PASSING: Final = ("LOADING", "OOM", "BUSY")
"""Errors that pass: it reads its data, it is full, a function runs for long."""


class Linked:
    """`Commands` over connections of its own. Retries as `connection.connect` does, some two minutes, then `NoAnswer`.

    Retrying is safe because every step of ours may be delivered twice (`functions.lua`).
    """

    def __init__(self, address: RedisAddress, pause: Callable[[float], object] = time.sleep) -> None:
        """Nothing is opened before it is needed.

        Raises:
            OSError: the password file cannot be read.
        """
        self._address, self._pause = address, pause
        self._password = address.password_file.read_text().strip()
        self._idle: list[Link] = []

    def close(self) -> None:
        """Gives idle connections back; nothing may be under way."""
        self._drop_idle()

    def exists(self, *names: str) -> int:
        return int(self._ask("EXISTS", *names))

    def get(self, name: str) -> bytes | None:
        return _bytes(self._ask("GET", name))

    def set(self, name: str, value: Word, *, xx: bool = False) -> bool:
        return self._ask("SET", name, value, *(("XX",) if xx else ())) is not None

    def hget(self, name: str, key: str) -> bytes | None:
        return _bytes(self._ask("HGET", name, key))

    def hgetall(self, name: str) -> dict[bytes, bytes]:
        flat = self._ask("HGETALL", name)
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def hset(self, name: str, key: str | None = None, value: Word | None = None) -> int:
        return int(self._ask("HSET", name, key or "", value or ""))

    def hsetnx(self, name: str, key: str, value: Word) -> int:
        return int(self._ask("HSETNX", name, key, value))

    def smembers(self, name: str) -> frozenset[bytes]:
        return frozenset(self._ask("SMEMBERS", name))

    def sismember(self, name: str, value: str) -> int:
        return int(self._ask("SISMEMBER", name, value))

    def rpush(self, name: str, *values: Word) -> int:
        return int(self._ask("RPUSH", name, *values))

    def lrange(self, name: str, start: int, end: int) -> list[bytes]:
        return list(self._ask("LRANGE", name, start, end))

    def blpop(self, keys: Sequence[str], timeout: float | None = 0) -> tuple[bytes, bytes] | None:
        found = self._ask("BLPOP", *keys, str(timeout))
        return (found[0], found[1]) if found else None

    def zrange(self, name: str, start: int, end: int) -> list[bytes]:
        return list(self._ask("ZRANGE", name, start, end))

    def zrem(self, name: str, *values: Word) -> int:
        return int(self._ask("ZREM", name, *values))

    def fcall(self, function: str, numkeys: int, *keys_and_args: Word) -> Any:
        return self._ask("FCALL", function, numkeys, *keys_and_args)

    def _ask(self, *words: Word) -> Any:
        pause_s = FIRST_PAUSE_S
        for _ in range(RETRIES):
            try:
                return self._once(words)
            except Refusal as error:
                if not str(error).startswith(_PASSING):
                    raise
            except NoAnswer:
                self._drop_idle()
            self._pause(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return self._once(words)

    def _once(self, words: Sequence[Word]) -> Any:
        try:
            link = self._idle.pop()
        except IndexError:
            link = Link(self._address.socket, self._address.user, self._password, ANSWERS_WITHIN_S)
        try:
            answer = link.ask(*words)
        except Refusal:
            self._idle.append(link)
            raise
        except BaseException:
            link.close()
            raise
        self._idle.append(link)
        return answer

    def _drop_idle(self) -> None:
        """What idled has ended with the same server, most likely; only the first retry pays for that."""
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return  # another thread was quicker


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)
