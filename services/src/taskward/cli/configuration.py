"""The operator's configuration: the file, and the environment before it; and which of them each value comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskward.cli.environment import Override, overrides
from taskward.core.errors import ConfigurationError
from taskward.core.settings import Settings
from taskward.core.settings.table import tables


@dataclass(frozen=True)
class Configuration:
    """What was given; `settings` is what it means."""

    file: Path
    given: Mapping[str, Any]
    overrides: tuple[Override, ...]

    @classmethod
    def read(cls, file: Path, environ: Mapping[str, str]) -> "Configuration":
        """The file and the environment as they are now.

        Raises:
            ConfigurationError: the file is not TOML, or a variable is no setting.
        """
        return cls(file, tables(file), overrides(environ))

    @property
    def settings(self) -> Settings:
        """Of both together.

        Raises:
            ConfigurationError: an unknown or missing key, or a value that cannot be; names file, variables and key.
        """
        merged: dict[str, Any] = dict(self.given)
        for each in self.overrides:
            table = merged.get(each.section, {})
            if not isinstance(table, dict):
                raise ConfigurationError(f"{self.file}: [{each.section}]: must be a table")
            merged[each.section] = {**table, each.key: each.value}
        variables = [each.variable for each in self.overrides]
        return Settings.parse(merged, f"{self.file} with {', '.join(variables)}" if variables else str(self.file))

    def origin(self, section: str, key: str) -> str:
        """Where a setting has its value from: the name of a variable, the file, or ``default``."""
        for each in self.overrides:
            if (each.section, each.key) == (section, key):
                return each.variable
        return str(self.file) if key in self.given.get(section, {}) else "default"
