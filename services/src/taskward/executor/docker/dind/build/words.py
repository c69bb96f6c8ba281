"""Words of a Dockerfile's line: quotes, escapes and variables, as ``ENV`` and most other instructions have them."""

import re
from collections.abc import Mapping
from typing import Final

from taskward.executor.docker.dind.build.errors import BuildFailed

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPACE: Final = " \t\n"
_DEEPEST: Final = 20


def expand(text: str, variables: Mapping[str, str]) -> str:
    """The whole of `text` as one word.

    Raises:
        BuildFailed: quotes or braces are not closed.
    """
    return _Lexer(text, variables).word(stops="")


def words(text: str, variables: Mapping[str, str]) -> list[str]:
    """The words of `text`; what a variable contains is never split."""
    lexer, found = _Lexer(text, variables), []
    while lexer.skip_space():
        found.append(lexer.word(stops=_SPACE))
    return found


def raw_words(text: str) -> list[str]:
    """Split where words end, with quotes and variables as they are."""
    lexer, found = _Lexer(text, {}), []
    while lexer.skip_space():
        begin = lexer.at
        lexer.word(stops=_SPACE)
        found.append(text[begin : lexer.at])
    return found


class _Lexer:
    def __init__(self, text: str, variables: Mapping[str, str], depth: int = 0) -> None:
        if depth > _DEEPEST:
            raise BuildFailed("variables are nested too deeply")
        self._text, self._variables, self.at, self._depth = text, variables, 0, depth

    def skip_space(self) -> bool:
        """Whether something is left."""
        while self.at < len(self._text) and self._text[self.at] in _SPACE:
            self.at += 1
        return self.at < len(self._text)

    def word(self, stops: str) -> str:
        """Up to one of `stops` outside of quotes."""
        found: list[str] = []
        while self.at < len(self._text) and self._text[self.at] not in stops:
            match self._text[self.at]:
                case "'":
                    found.append(self._until_quote())
                case '"':
                    self.at += 1
                    found.append(self._double_quoted())
                case "\\":
                    found.append(self._text[self.at + 1 : self.at + 2])
                    self.at += 2
                case "$":
                    found.append(self._variable())
                case other:
                    found.append(other)
                    self.at += 1
        return "".join(found)

    def _until_quote(self) -> str:
        end = self._text.find("'", self.at + 1)
        if end < 0:
            raise BuildFailed("unexpected end of statement while looking for matching single-quote")
        found = self._text[self.at + 1 : end]
        self.at = end + 1
        return found

    def _double_quoted(self) -> str:
        found: list[str] = []
        while self.at < len(self._text):
            match self._text[self.at]:
                case '"':
                    self.at += 1
                    return "".join(found)
                case "$":
                    found.append(self._variable())
                case "\\" if self._text[self.at + 1 : self.at + 2] in ('"', "$", "\\"):
                    found.append(self._text[self.at + 1])
                    self.at += 2
                case other:
                    found.append(other)
                    self.at += 1
        raise BuildFailed("unexpected end of statement while looking for matching double-quote")

    def _variable(self) -> str:
        self.at += 1
        braced = self._text[self.at : self.at + 1] == "{"
        found = _NAME.match(self._text, self.at + braced)
        if found is None:
            if braced:
                raise BuildFailed("syntax error: bad substitution")
            return "$"
        self.at = found.end()
        value = self._variables.get(found[0])
        if not braced:
            return value or ""
        return self._modified(value)

    def _modified(self, value: str | None) -> str:
        """``${name}``, ``${name:-word}``, ``${name:+word}``; also without the colon, for unset ones only."""
        operator = re.compile(r":?[-+]").match(self._text, self.at)
        other = ""
        if operator:
            self.at = operator.end()
            inner = _Lexer(self._text, self._variables, self._depth + 1)
            inner.at = self.at
            other, self.at = inner.word(stops="}"), inner.at
        if self._text[self.at : self.at + 1] != "}":
            raise BuildFailed("syntax error: missing '}'")
        self.at += 1
        if operator is None:
            return value or ""
        is_set = bool(value) if operator[0].startswith(":") else value is not None
        if operator[0].endswith("+"):
            return other if is_set else ""
        return value or "" if is_set else other
