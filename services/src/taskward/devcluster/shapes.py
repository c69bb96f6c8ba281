"""Checks for the bodies of requests.

A shape is a function that takes a value and its path and yields one sentence for each fault. Shapes
nest. They stand where the real services use JSON schema, which would take longer than the rest of a
call.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from taskward.devcluster.clock import parse_instant
from taskward.devcluster.errors import InputValidationError

Shape = Callable[[Any, str], Iterator[str]]


def check(shape: Shape, value: Any) -> None:
    """Raise ``InputValidationError`` that names every fault of the value."""
    faults = [f"  * {fault}" for fault in shape(value, "data")]
    if faults:
        raise InputValidationError("\n".join(["Schema Validation Failed!", "Rejecting Reasons:", *faults]))


def text(pattern: str = "", *, longest: int | None = None, shortest: int = 0, choices: Collection[str] = ()) -> Shape:
    """Return the shape of a string: the whole of it matches the pattern, or it is one of the choices."""
    compiled = re.compile(pattern) if pattern else None

    def shape(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield f"{path} must be string"
        elif choices and value not in choices:
            yield f"{path} must be equal to one of the allowed values: {', '.join(choices)}"
        elif len(value) < shortest:
            yield f"{path} must NOT have fewer than {shortest} characters"
        elif longest is not None and len(value) > longest:
            yield f"{path} must NOT have more than {longest} characters"
        elif compiled and not compiled.fullmatch(value):
            yield f'{path} must match pattern "{pattern}"'

    return shape


def integer(lowest: int, highest: int) -> Shape:
    """Return the shape of a whole number between two bounds, both allowed."""

    def shape(value: Any, path: str) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, int):
            yield f"{path} must be integer"
        elif not lowest <= value <= highest:
            yield f"{path} must be >= {lowest} and <= {highest}"

    return shape


def instant(value: Any, path: str) -> Iterator[str]:
    """Accept an RFC 3339 time."""
    try:
        parse_instant(value)
    except (TypeError, ValueError, OverflowError):
        yield f'{path} must match format "date-time"'


def flag(value: Any, path: str) -> Iterator[str]:
    """Accept true and false."""
    if not isinstance(value, bool):
        yield f"{path} must be boolean"


def anything(value: Any, path: str) -> Iterator[str]:
    """Accept any value."""
    yield from ()


def array(item: Shape, *, longest: int | None = None, unique: bool = False) -> Shape:
    """Return the shape of a list of like items; uniqueness is for lists of strings."""

    def shape(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{path} must be array"
            return
        if longest is not None and len(value) > longest:
            yield f"{path} must NOT have more than {longest} items"
        for position, element in enumerate(value):
            yield from item(element, f"{path}/{position}")
        if unique and len({str(element) for element in value}) < len(value):
            yield f"{path} must NOT have duplicate items"

    return shape


def mapping(item: Shape = anything) -> Shape:
    """Return the shape of an object with any keys and like values."""

    def shape(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path} must be object"
            return
        for key, element in value.items():
            yield from item(element, f"{path}/{key}")

    return shape


def record(required: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> Shape:
    """Return the shape of an object with these keys and no others."""
    known = {**required, **(optional or {})}

    def shape(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path} must be object"
            return
        for key in required:
            if key not in value:
                yield f"{path} must have required property '{key}'"
        for key, element in value.items():
            if key in known:
                yield from known[key](element, f"{path}/{key}")
            else:
                yield f"{path} must NOT have additional properties: {key}"

    return shape
