"""The part of a request's target after ``?``."""

from typing import Final
from urllib.parse import parse_qsl

from taskward.executor.docker.dind.errors import FORBIDDEN, WRONG, Refusal
from taskward.executor.docker.dind.fields import Fields, is_empty, parse

_MOST_FIELDS: Final = 100


class Query:
    """Its parameters. `expect` comes first: whatever is not expected must say nothing."""

    def __init__(self, text: str) -> None:
        try:
            pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=_MOST_FIELDS,
                              errors="strict", encoding="utf-8")  # fmt: skip
        except ValueError as error:
            raise Refusal(WRONG, f"the query cannot be read: {error}") from error
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def expect(self, names: frozenset[str]) -> None:
        """Raises `Refusal` for any other."""
        for name, values in self._values.items():
            if name not in names and not all(map(_says_nothing, values)):
                raise Refusal(FORBIDDEN, f"parameter {name[:100]!r} is not allowed here")

    def text(self, name: str) -> str:
        """Empty when it is not there."""
        values = self._values.get(name, [""])
        if len(values) != 1:
            raise Refusal(WRONG, f"parameter {name!r} is there twice")
        return values[0]

    def texts(self, name: str) -> list[str]:
        """Of one that may be there several times."""
        return [value for value in self._values.get(name, ()) if value]

    def flag(self, name: str) -> bool:
        """As the daemon understands it."""
        return self.text(name).strip().lower() not in ("", "0", "no", "false", "none")

    def fields(self, name: str) -> Fields:
        """A JSON object."""
        return Fields.read(self.text(name).encode())


def _says_nothing(value: str) -> bool:
    if value.lower() in ("", "0", "false", "null", "default"):
        return True
    return value[:1] in "[{" and is_empty(parse(value.encode()))
