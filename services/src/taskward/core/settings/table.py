"""TOML tables as frozen classes: every key known, every value of its type."""

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final, get_type_hints

from taskward.core.errors import ConfigurationError
from taskward.core.nesting import DEEPEST
from taskward.core.settings.content import content

LARGEST_BYTES: Final = 1 << 20
_TOO_DEEP: Final = f"tables and arrays are nested too deeply; {DEEPEST} levels are the most"


def tables(path: Path) -> dict[str, Any]:
    """What is written in `path`, unchecked.

    Raises:
        ConfigurationError: it cannot be read, is no ordinary file, or not TOML.
    """
    try:
        return tomllib.loads(content(path, LARGEST_BYTES))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path}: {_TOO_DEEP}") from error


def refuse_nesting(value: Any, where: str, levels: int = DEEPEST) -> None:
    """Refuses tables and arrays within each other that nobody can walk through.

    Raises:
        ConfigurationError: there are more than `levels`.
    """
    if isinstance(value, dict | list):
        if not levels:
            raise ConfigurationError(f"{where}: {_TOO_DEEP}")
        for each in value.values() if isinstance(value, dict) else value:
            refuse_nesting(each, where, levels - 1)


def section(kind: type[Any], data: Any, where: str) -> Any:
    """A frozen settings class from a TOML table; what its `__post_init__` raises is said to be at `where`.

    Raises:
        ConfigurationError: an unknown or missing key, or a value that cannot be.
    """
    if not isinstance(data, dict):
        raise ConfigurationError(f"{where}: must be a table")
    hints = get_type_hints(kind)
    refuse_unknown(data, set(hints), where, "key")
    for each in fields(kind):
        if each.name not in data and each.default is MISSING and each.default_factory is MISSING:
            raise ConfigurationError(f"{where}: {each.name} is missing")
    values = {name: checked(value, hints[name], f"{where} {name}") for name, value in data.items()}
    try:
        return kind(**values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where} {error}") from error


def refuse_unknown(data: Mapping[str, Any], known: set[str], where: str, what: str) -> None:
    """Names the first unknown key and the nearest known one.

    Raises:
        ConfigurationError: there is an unknown key.
    """
    for name in data:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(sorted(known))}"
            raise ConfigurationError(f"{where}: unknown {what} {name!r}; {hint}")


def checked(value: Any, hint: Any, where: str) -> Any:
    """A TOML value as a setting of type `hint`.

    Raises:
        ConfigurationError: it has another type; `where` names it.
    """
    if hint in (Path, Path | None):
        if not isinstance(value, str) or not value.startswith("/"):
            raise ConfigurationError(f"{where}: must be an absolute path, not {value!r}")
        return Path(value)
    if hint is float and type(value) is int:
        return float(value)
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"{where}: must be a finite number, not {value!r}")
    if hint == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ConfigurationError(f"{where}: must be an array of strings, not {value!r}")
        return tuple(value)
    if hint in (int, float, str, bool) and type(value) is not hint:
        raise ConfigurationError(f"{where}: must be {hint.__name__}, not {value!r}")
    return value
