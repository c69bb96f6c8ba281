"""`Commands` over connections of our own: what a process has of Redis that does without redis-py (ADR 8)."""

# ruff: noqa: D102 - `Commands` tells what each method promises

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

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

    def pipeline(self) -> "Transaction":
        return Transaction(self.transact)

    def delete(self, *names: str) -> int:
        return int(self._ask("DEL", *names))

    def exists(self, *names: str) -> int:
        return int(self._ask("EXISTS", *names))

    def get(self, name: str) -> bytes | None:
        return _bytes(self._ask("GET", name))

    def set(self, name: str, value: Word, *, xx: bool = False) -> bool:
        return self._ask("SET", name, value, *(("XX",) if xx else ())) is not None

    def hget(self, name: str, key: str) -> bytes | None:
        return _bytes(self._ask("HGET", name, key))

    def hgetall(self, name: str) -> dict[bytes, bytes]:
        return _fields(self._ask("HGETALL", name))

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

    def transact(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """What each of `commands` answers, all of them done at once; errors of single ones are among the answers.

        Raises:
            Refusal: nothing was done.
            NoAnswer: Redis stays away.
        """
        return list(self._patiently(lambda link: link.transact(commands)))

    def _ask(self, *words: Word) -> Any:
        return self._patiently(lambda link: link.ask(*words))

    def _patiently(self, talk: Callable[[Link], Any]) -> Any:
        pause_s = FIRST_PAUSE_S
        for _ in range(RETRIES):
            try:
                return self._over_a_link(talk)
            except Refusal as error:
                if not str(error).startswith(_PASSING):
                    raise
            except NoAnswer:
                self._drop_idle()
            self._pause(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return self._over_a_link(talk)

    def _over_a_link(self, talk: Callable[[Link], Any]) -> Any:
        try:
            link = self._idle.pop()
        except IndexError:
            link = Link(self._address.socket, self._address.user, self._password, ANSWERS_WITHIN_S)
        try:
            answer = talk(link)
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


class Transaction:
    """Commands that are collected, and done all at once: spelt as redis-py's pipeline."""

    def __init__(self, transact: Callable[[Sequence[Sequence[Word]]], list[Any]]) -> None:
        self._transact = transact
        self._commands: list[tuple[Word, ...]] = []
        self._forms: list[Callable[[Any], Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._commands.clear()

    def hgetall(self, name: str) -> None:
        self._add(_fields, "HGETALL", name)

    def hmget(self, name: str, keys: Sequence[str]) -> None:
        self._add(list, "HMGET", name, *keys)

    def hset(self, name: str, key: str, value: Word) -> None:
        self._add(int, "HSET", name, key, value)

    def set(self, name: str, value: Word) -> None:
        self._add(bool, "SET", name, value)

    def publish(self, channel: str, message: Word) -> None:
        self._add(int, "PUBLISH", channel, message)

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The answers in order; an error is among them only where it is not to be raised."""
        answers = self._transact(self._commands)
        for answer in answers:
            if raise_on_error and isinstance(answer, Exception):
                raise answer
        return [
            answer if isinstance(answer, Exception) else form(answer)
            for form, answer in zip(self._forms, answers, strict=True)
        ]

    def _add(self, form: Callable[[Any], Any], *words: Word) -> None:
        self._commands.append(words)
        self._forms.append(form)


def _fields(flat: Any) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)
