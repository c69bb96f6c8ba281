"""The few commands of Redis that the records need, from redis-py (`connection`) or from `linked`, which is smaller."""

from typing import Any, Protocol


def text(value: object) -> str:
    """A string out of what Redis answered (bytes, or nothing)."""
    return value.decode() if isinstance(value, bytes) else str(value or "")


class Commands(Protocol):
    """Spelt and answered as redis-py does; thread-safe. Keys and values come back as bytes."""

    def pipeline(self) -> Any:
        """Collects commands, and has them done all at once."""

    def delete(self, *names: Any) -> Any:
        """Removes keys."""

    def exists(self, *names: Any) -> Any:
        """How many of the keys there are."""

    def get(self, name: Any) -> Any:
        """A string, or None."""

    def set(self, name: Any, value: Any, *, xx: bool = False) -> Any:
        """Sets a string; with `xx` only one that exists."""

    def hget(self, name: str, key: str) -> Any:
        """One field, or None."""

    def hgetall(self, name: str) -> Any:
        """All fields."""

    def hset(self, name: str, key: str | None = None, value: Any = None) -> Any:
        """Sets one field."""

    def hsetnx(self, name: str, key: str, value: Any) -> Any:
        """Sets one field that does not exist yet."""

    def smembers(self, name: str) -> Any:
        """A set."""

    def sismember(self, name: str, value: str) -> Any:
        """Whether it is in the set."""

    def rpush(self, name: str, *values: Any) -> Any:
        """Appends to a list."""

    def lrange(self, name: str, start: int, end: int) -> Any:
        """A part of a list."""

    def blpop(self, keys: Any, timeout: float | None = 0) -> Any:
        """Key and value of the first that has one, or None after `timeout` seconds."""

    def zrange(self, name: Any, start: Any, end: Any) -> Any:
        """A part of a sorted set, without scores."""

    def zrem(self, name: Any, *values: Any) -> Any:
        """Removes from a sorted set."""

    def fcall(self, function: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Calls a function of ours."""
