"""JSON in and out: strict when reading, one fixed form when writing."""

import json
from typing import Any, NoReturn

_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029\x7f"})


class BadJsonError(ValueError):
    """Text that is not JSON, or JSON with a meaning that depends on its reader."""


def parse(text: bytes) -> Any:
    """The value of a JSON text.

    Raises `BadJsonError` for anything that readers understand differently: a key given twice, NaN, bytes that
    are not UTF-8, nesting or numbers beyond what Python takes.
    """
    try:
        return json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadJsonError(f"not acceptable as JSON: {error}") from error


def write(value: Any) -> str:
    """The form of generic-worker's documents: keys as they come, two spaces of indentation, no final line end.

    Characters that browsers could take for markup are escaped as Go's encoder does, other text stays UTF-8.
    Raises `BadJsonError` for numbers that JSON cannot express.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise BadJsonError(f"cannot be written as JSON: {error}") from error
    # what is replaced stands inside of strings only; a lone surrogate comes out as its own JSON escape
    return text.translate(_ESCAPES).encode("utf-8", "backslashreplace").decode()


def canonical(value: Any) -> bytes:
    """A compact form with sorted keys, for hashing what only this program compares."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is given twice in one object")
    return table


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
