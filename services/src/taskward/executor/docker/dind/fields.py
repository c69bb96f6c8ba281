"""JSON of a task, field by field: what is asked for is checked, what is not asked for must say nothing.

The daemon's reader takes ``privileged`` for ``Privileged`` and the last of two equal keys. Nothing that was read here
is therefore passed on as it came: each request is written anew from the fields that were asked for, by our own names.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from taskward.executor.docker.dind.errors import WRONG, Refusal, forbidden

_MOST_ENTRIES: Final = 4096
_LONGEST_TEXT: Final = 1 << 18


def parse(text: bytes) -> Any:
    """JSON without anything that two readers may understand differently.

    Raises:
        Refusal: it is not.
    """
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refusal(WRONG, f"the request's JSON cannot be read: {error}") from error


class Fields:
    """One JSON object; `place` is where it is, for people. `close` comes when everything that is known was asked for.

    Every method raises `Refusal` for a value of another kind.
    """

    def __init__(self, data: Any, place: str = "") -> None:
        if data is not None and not isinstance(data, dict):
            raise Refusal(WRONG, f"{place or 'the request'}: an object was expected")
        self._data: dict[str, Any] = dict(data or {})
        self._place = place

    @classmethod
    def read(cls, text: bytes) -> Self:
        """From a request's body; an empty one is an empty object."""
        return cls(parse(text) if text.strip() else {})

    def close(self) -> None:
        """Whatever is left must be empty: it is not passed on, so it would be lost.

        Raises:
            Refusal: it is not.
        """
        for name, value in self._data.items():
            if not is_empty(value):
                raise forbidden(f"{self._at(name)} is not allowed")

    def text(self, name: str, pattern: str = r"[^\0]*") -> str:
        """Empty when it is not there."""
        value = self._data.pop(name, None)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
            raise self._wrong(name, "text")
        if value and not re.fullmatch(pattern, value, re.DOTALL):
            raise forbidden(f"{self._at(name)}: {value[:200]!r} is not allowed")
        return value

    def flag(self, name: str) -> bool:
        """False when it is not there."""
        value = self._data.pop(name, None)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return bool(value)

    def number(self, name: str, least: int = 0) -> int:
        """0 when it is not there."""
        value = self._data.pop(name, None)
        if value is None:
            return 0
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1 << 62:
            raise self._wrong(name, f"a number from {least} on")
        return value

    def texts(self, name: str, pattern: str = r"[^\0]*") -> list[str]:
        """A list of text, or one text; empty when it is not there."""
        value = self._data.pop(name, None)
        if isinstance(value, str):
            value = [value]
        if value is not None and (not isinstance(value, list) or len(value) > _MOST_ENTRIES):
            raise self._wrong(name, "a list of text")
        for each in value or ():
            if not isinstance(each, str) or len(each) > _LONGEST_TEXT:
                raise self._wrong(name, "a list of text")
            if not re.fullmatch(pattern, each, re.DOTALL):
                raise forbidden(f"{self._at(name)}: {each[:200]!r} is not allowed")
        return list(value or ())

    def maybe_texts(self, name: str) -> list[str] | None:
        """As `texts`, where an empty list and none at all differ."""
        return None if self._data.get(name) is None else self.texts(name)

    def table(self, name: str, key: str = r"[^\0]*", value: str = r"[^\0]*") -> dict[str, str]:
        """Text by text."""
        found = self._object(name)
        for each, content in found.items():
            if not isinstance(content, str) or len(each) + len(content) > _LONGEST_TEXT:
                raise self._wrong(name, "text by text")
            if not re.fullmatch(key, each, re.DOTALL) or not re.fullmatch(value, content, re.DOTALL):
                raise forbidden(f"{self._at(name)}: {each[:200]!r}: {content[:200]!r} is not allowed")
        return found

    def names(self, name: str, pattern: str) -> list[str]:
        """The keys of an object whose values are empty objects, as Go writes sets."""
        found = self._object(name)
        for each, content in found.items():
            if not is_empty(content) or not re.fullmatch(pattern, each):
                raise forbidden(f"{self._at(name)}: {each[:200]!r} is not allowed")
        return list(found)

    def set_of_texts(self, name: str) -> list[str]:
        """Of a filter, in either of the two ways that the API has: ``["a"]`` and ``{"a": true}``."""
        value = self._data.get(name)
        if isinstance(value, dict):
            self._data[name] = [each for each, wanted in value.items() if wanted]
        return self.texts(name)

    def fields(self, name: str) -> "Fields":
        """An object inside; an empty one when it is not there."""
        return Fields(self._data.pop(name, None), self._at(name))

    def list(self, name: str) -> "list[Fields]":
        """A list of objects."""
        value = self._data.pop(name, None)
        if value is not None and (not isinstance(value, list) or len(value) > _MOST_ENTRIES):
            raise self._wrong(name, "a list")
        return [Fields(each, f"{self._at(name)}[{number}]") for number, each in enumerate(value or ())]

    def drop(self, *names: str) -> None:
        """What is of no consequence, or is set by us whatever the task says."""
        for name in names:
            self._data.pop(name, None)

    @property
    def is_empty(self) -> bool:
        """Whether nothing (more) is said."""
        return is_empty(self._data)

    def _object(self, name: str) -> dict[str, Any]:
        value = self._data.pop(name, None)
        if value is not None and (not isinstance(value, dict) or len(value) > _MOST_ENTRIES):
            raise self._wrong(name, "an object")
        return dict(value or {})

    def _at(self, name: str) -> str:
        return f"{self._place}.{name[:100]}" if self._place else name[:100]

    def _wrong(self, name: str, expected: str) -> Refusal:
        return Refusal(WRONG, f"{self._at(name)}: {expected} was expected")


def is_empty(value: Any) -> bool:
    """Whether a value says no more than that it is not there, as clients write what nobody has asked for."""
    if isinstance(value, Mapping):
        return all(map(is_empty, value.values()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(map(is_empty, value))
    return not value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
