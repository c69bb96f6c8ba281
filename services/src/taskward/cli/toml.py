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
        lines = [f"{_key(key)} = {value(each)}" for key, each in table.items() if each is not None]
        parts.append("\n".join([f"[{_key(name)}]", *lines]))
    return "\n\n".join(parts) + "\n"


def value(data: Any) -> str:
    """One value in TOML's form; see `document`."""
    if isinstance(data, bool):
        return "true" if data else "false"
    if isinstance(data, int | float):
        return repr(data)
    if isinstance(data, str | Path):
        return _text(str(data))
    if isinstance(data, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {value(v)}" for k, v in data.items()) + " }" if data else "{}"
    if isinstance(data, list | tuple):
        return "[" + ", ".join(value(each) for each in data) + "]"
    raise TypeError(f"{type(data).__name__} has no form in TOML")


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
