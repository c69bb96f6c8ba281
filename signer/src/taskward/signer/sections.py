"""Reading one section of the worker's TOML file.

The file is shared by every process of the worker: a process reads the sections that are its own and refuses
unknown keys in those; the sections of others are none of its business.
"""

import difflib
import grp
import pwd
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from taskward.signer.errors import SettingsError

T = TypeVar("T")


class Section:
    """One table of a configuration file, read key by key with checked types.

    Raises `SettingsError` for keys outside of `own_keys` (None: the section belongs to somebody else and may
    hold anything), for missing required keys and for values of another type.
    """

    def __init__(self, file: Path, name: str, own_keys: Collection[str] | None) -> None:
        self.where = f"[{name}] of {file}"
        table = _load(file).get(name, {})
        if not isinstance(table, dict):
            raise SettingsError(f"{self.where} has to be a table")
        self._table: Mapping[str, Any] = table
        if own_keys is not None:
            refuse_unknown(table, own_keys, self.where)

    def text(self, key: str, default: str | None = None) -> str:
        """A string; required unless a default is given."""
        return self._value(key, str, default)

    def integer(self, key: str, default: int) -> int:
        """A whole number above zero."""
        number = self._value(key, int, default)
        if number <= 0:
            raise SettingsError(f"{key} in {self.where} has to be above zero")
        return number

    def path(self, key: str) -> Path:
        """An absolute path; required."""
        path = Path(self.text(key))
        if not path.is_absolute():
            raise SettingsError(f"{key} in {self.where} has to be an absolute path, not {str(path)!r}")
        return path

    def choice(self, key: str, choices: Collection[str], default: str) -> str:
        """One word out of `choices`."""
        word = self.text(key, default)
        if word not in choices:
            raise SettingsError(f"{key} in {self.where} has to be one of {', '.join(choices)}, not {word!r}")
        return word

    def mode(self, key: str, default: str) -> int:
        """A file mode, written as an octal string such as ``"0660"``."""
        text = self.text(key, default)
        try:
            return int(text, 8) & 0o777
        except ValueError:
            raise SettingsError(f'{key} in {self.where} has to be an octal string such as "0660"') from None

    def users(self, key: str) -> frozenset[int]:
        """A list of user names or uids, as uids; missing means nobody. An unknown user name is refused."""
        return frozenset(self._uid(key, user) for user in self._value(key, list, []))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; missing means an empty one."""
        values = self._value(key, list, [])
        if not all(isinstance(value, str) for value in values):
            raise SettingsError(f"{key} in {self.where} has to be a list of strings")
        return tuple(values)

    def table(self, key: str, own_keys: Collection[str]) -> dict[str, str]:
        """A table of strings with known keys; missing means an empty one."""
        table = self._value(key, dict, {})
        where = f"{key} in {self.where}"
        refuse_unknown(table, own_keys, where)
        for name, value in table.items():
            if not isinstance(value, str):
                raise SettingsError(f"{name} of {where} has to be a string")
        return table

    def gid(self, key: str) -> int | None:
        """A group name as its gid; None when the key is missing."""
        if key not in self._table:
            return None
        name = self.text(key)
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            raise SettingsError(f"{key} in {self.where} names group {name!r}, which does not exist") from None

    def has(self, key: str) -> bool:
        """Whether the file says anything about `key`."""
        return key in self._table

    def _value(self, key: str, kind: type[T], default: T | None) -> T:
        value = self._table.get(key, default)
        if value is None:
            raise SettingsError(f"{key} is missing from {self.where}")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise SettingsError(f"{key} in {self.where} has to be of type {kind.__name__}")
        return value

    def _uid(self, key: str, user: object) -> int:
        if isinstance(user, int) and not isinstance(user, bool):
            return user
        try:
            return pwd.getpwnam(str(user)).pw_uid
        except KeyError:
            raise SettingsError(f"{key} in {self.where} names user {user!r}, who does not exist") from None


def refuse_unknown(table: Mapping[str, Any], own_keys: Collection[str], where: str) -> None:
    """Raises `SettingsError` for the first key of `table` outside of `own_keys`, with a suggestion."""
    for key in table:
        if key not in own_keys:
            close = difflib.get_close_matches(key, own_keys, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(sorted(own_keys))}"
            raise SettingsError(f"unknown key {key!r} in {where}; {hint}")


def _load(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the configuration {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from error
