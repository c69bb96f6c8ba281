"""TOML tables as frozen values: unknown and missing keys are named, and so is a value of another type."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import Any, Final, TypeVar, get_args, get_type_hints

from taskward.proxy.routes import RootUrl
from taskward.proxy.via import Via

T = TypeVar("T")


def read(kind: type[T], data: object, where: str, **given: object) -> T:
    """A dataclass from the table `data`; `given` are fields that stand elsewhere. Tables in it become dataclasses, too.

    ValueError names the key (after `where`, such as ``[proxy]``), what is wrong with it, and the remedy.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} must be a table")
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name not in given}
    refuse_unknown(data, hints, where)
    for each in fields(kind):  # type: ignore[arg-type]  # T is one of them
        required = each.default is MISSING and each.default_factory is MISSING
        if required and each.name not in data and each.name not in given:
            raise ValueError(f"{where} {each.name} is missing")
    values = {key: _value(f"{where} {key}", hints[key], value) for key, value in data.items()}
    return kind(**values, **given)


def refuse_unknown(data: Mapping[str, object], known: Mapping[str, object], where: str) -> None:
    """ValueError for a key that is not known, with the nearest one that is."""
    for key in data:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"
            raise ValueError(f"{where} {key} is not a setting; {hint}")


def _value(where: str, wanted: Any, value: object) -> object:
    if isinstance(wanted, UnionType):
        wanted = next(each for each in get_args(wanted) if each is not type(None))
    reader = _READERS.get(wanted)
    return reader(where, value) if reader else read(wanted, value, where)


def _number(*accepted: type) -> Callable[[str, object], object]:
    def number(where: str, value: object) -> object:
        ceiling = 65535 if where.endswith("port") else 100_000
        fits = isinstance(value, accepted) and not isinstance(value, bool)
        if not fits or not 0 < value <= ceiling:  # type: ignore[operator]  # it is a number by now
            raise ValueError(f"{where} must be a number from 1 to {ceiling}, not {value!r}")
        return value

    return number


def _text(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where} must be a string, not {value!r}")
    return value


def _url(where: str, value: object) -> RootUrl:
    try:
        return RootUrl.parse(_text(where, value))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _via(where: str, value: object) -> Via:
    try:
        return Via.parse(_text(where, value))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _texts(where: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a table of strings, not {value!r}")
    return {key: _text(f"{where} {key}", each) for key, each in value.items()}


def _urls(where: str, value: object) -> dict[str, RootUrl]:
    return {key: _url(f"{where} {key}", each) for key, each in _texts(where, value).items()}


def _statuses(where: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(each) is int and 100 <= each <= 599 for each in value):
        raise ValueError(f"{where} must be a list of HTTP statuses such as [200, 401], not {value!r}")
    return tuple(value)


_READERS: Final[Mapping[Any, Callable[[str, object], object]]] = {
    int: _number(int),
    float: _number(int, float),
    str: _text,
    Path: lambda where, value: Path(_text(where, value)),
    RootUrl: _url,
    Via: _via,
    Mapping[str, str]: _texts,
    Mapping[str, RootUrl]: _urls,
    tuple[int, ...]: _statuses,
}
