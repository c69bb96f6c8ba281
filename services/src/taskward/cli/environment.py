"""Settings from the environment: ``TASKWARD_<SECTION>__<KEY>`` comes before the file.

``TASKWARD_WORKER__CAPACITY=4`` is ``capacity = 4`` of ``[worker]``. Text and paths are written as they are, anything
else as in TOML (``true``, ``1.5``, ``["docker"]``). ``TASKWARD_<SECTION>__<KEY>_FILE`` names a file with the value.
Only commands look here; the processes read the resolved configuration, which has it all. Values are never shown in
errors about names, since somebody may have taken a secret for a setting.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_type_hints

from taskward.core.errors import ConfigurationError
from taskward.core.settings import OTHER_SECTIONS, SECTIONS
from taskward.core.settings.table import checked

PREFIX: Final = "TASKWARD_"
_FROM_FILE: Final = "_file"
_NOT_SETTINGS: Final = frozenset(
    {"CONFIG", "DIR", "DOCKER_SOCKET", "EXECUTOR_MEMORY", "GATEWAY_PORT", "PORT", "PYTHON", "TAG"}
)
"""Which file is meant, and what setup and Compose are told."""
_AS_WRITTEN: Final = (str, str | None, Path, Path | None)
_LARGEST_BYTES: Final = 1 << 16


@dataclass(frozen=True)
class Override:
    """One setting that the environment has; the value has the form that it would have in the file."""

    variable: str
    section: str
    key: str
    value: Any


def overrides(environ: Mapping[str, str]) -> tuple[Override, ...]:
    """All of them.

    Raises:
        ConfigurationError: a name that begins like ours and is none (the text has the nearest), or a value that its
            setting cannot have.
    """
    names = sorted(name for name in environ if name.startswith(PREFIX))
    return tuple(_override(name, environ[name]) for name in names if name.removeprefix(PREFIX) not in _NOT_SETTINGS)


def _override(variable: str, text: str) -> Override:
    section, _, key = variable.removeprefix(PREFIX).lower().partition("__")
    if variable != variable.upper() or not _is_known(section, key):
        raise ConfigurationError(f"the environment has {variable}, which is no setting; {_nearest(variable)}")
    if section in OTHER_SECTIONS:
        return Override(variable, section, key, _guessed(text))
    hints = get_type_hints(SECTIONS[section])
    if key not in hints:
        key, text = key.removesuffix(_FROM_FILE), _content(variable, text)
    value = text if hints[key] in _AS_WRITTEN else _guessed(text)
    checked(value, hints[key], variable)
    return Override(variable, section, key, value)


def _is_known(section: str, key: str) -> bool:
    if section in OTHER_SECTIONS:
        return bool(key)
    return section in SECTIONS and not {key, key.removesuffix(_FROM_FILE)}.isdisjoint(get_type_hints(SECTIONS[section]))


def _guessed(text: str) -> Any:
    """What TOML makes of it; the text itself where that is nothing."""
    try:
        tables = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return tables["value"] if len(tables) == 1 else text


def _content(variable: str, path: str) -> str:
    try:
        with Path(path).open("rb") as stream:
            return stream.read(_LARGEST_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{variable}: {path}: cannot be read: {error}") from error


def _nearest(variable: str) -> str:
    known = [
        f"{PREFIX}{section}__{key}".upper() for section, kind in SECTIONS.items() for key in get_type_hints(kind)
    ] + [f"{PREFIX}{name}" for name in _NOT_SETTINGS]
    near = difflib.get_close_matches(variable.upper(), known, 1)
    return f"did you mean {near[0]}?" if near else f"settings are {PREFIX}<SECTION>__<KEY>, see `taskward config show`"
