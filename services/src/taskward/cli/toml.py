"""Writes TOML; the standard library only reads it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def document(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """One table after the other; values are strings, numbers, booleans, paths, lists and (inline) tables.

    None values are left out.

    Raises:
        TypeError: a value of another kind.
    """
    parts = []
    for name, table in sections.items():
        lines = [f"{_key(key)} = {_value(value)}" for key, value in table.items() if value is not None]
        parts.append("\n".join([f"[{_key(name)}]", *lines]))
    return "\n\n".join(parts) + "\n"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return _text(str(value))
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    raise TypeError(f"{type(value).__name__} has no form in TOML")
