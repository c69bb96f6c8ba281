"""A Dockerfile as a list of instructions."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from taskward.executor.docker.dind.build.errors import BuildFailed

KEYWORDS: Final = frozenset(
    ("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
     "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")
)  # fmt: skip
_FLAG: Final = re.compile(r"--([a-z-]+)(?:=(\S*))?\s+")
_FLAGS: Final[Mapping[str, frozenset[str]]] = {
    "ADD": frozenset({"chown"}),
    "COPY": frozenset({"chown", "from"}),
    "FROM": frozenset({"platform"}),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period", "retries"}),
    "RUN": frozenset(),
}
_MOST_INSTRUCTIONS: Final = 1000
_HEREDOC: Final = re.compile(r"<<-?[\"']?[A-Za-z_]")


@dataclass(frozen=True)
class Instruction:
    """One line. `text` is what follows keyword and flags; `argv` the same where it is a JSON list of text."""

    keyword: str
    flags: Mapping[str, str]
    text: str
    argv: tuple[str, ...] | None

    def __str__(self) -> str:
        flags = "".join(f"--{name}={value} " for name, value in self.flags.items())
        return f"{self.keyword} {flags}{self.text}"


def parse(text: str) -> list[Instruction]:
    """All instructions.

    Raises:
        BuildFailed: it is no Dockerfile, or needs BuildKit.
    """
    found = [instruction(line) for line in _lines(text)]
    if len(found) > _MOST_INSTRUCTIONS:
        raise BuildFailed(f"the Dockerfile has more than {_MOST_INSTRUCTIONS} instructions")
    first = next((each.keyword for each in found if each.keyword != "ARG"), "")
    if first != "FROM":
        raise BuildFailed("no build stage in current context: a Dockerfile begins with FROM")
    return found


def instruction(line: str) -> Instruction:
    """Of one line, continued ones put together."""
    keyword, _, rest = line.strip().partition(" ") if " " in line.strip() else line.strip().partition("\t")
    keyword, rest = keyword.upper(), rest.strip()
    if keyword not in KEYWORDS:
        raise BuildFailed(f"unknown instruction: {keyword[:50]}")
    flags: dict[str, str] = {}
    while keyword in _FLAGS and (found := _FLAG.match(f"{rest} ")):
        if found[1] not in _FLAGS[keyword]:
            raise BuildFailed(f"--{found[1]} of {keyword} is not known here: there is no BuildKit")
        flags[found[1]] = found[2] or ""
        rest = rest[found.end() :].lstrip()
    if not rest:
        raise BuildFailed(f"{keyword} requires at least one argument")
    if keyword in ("RUN", "COPY", "ADD") and _HEREDOC.match(rest):
        raise BuildFailed(f"{keyword}: here-documents need BuildKit, which is not known here")
    return Instruction(keyword, flags, rest, _json_list(rest))


def _json_list(text: str) -> tuple[str, ...] | None:
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return tuple(found) if isinstance(found, list) and all(isinstance(each, str) for each in found) else None


def _lines(text: str) -> Iterator[str]:
    """Lines that belong together in one; comments and empty lines may stand in between."""
    if re.match(r"\s*#\s*escape\s*=\s*`", text, re.IGNORECASE):
        raise BuildFailed("escape=` is for Windows")
    begun: list[str] = []
    for line in text.removeprefix("\ufeff").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if continued := re.fullmatch(r"(.*)\\[ \t]*", line):
            begun.append(continued[1])
            continue
        yield "".join([*begun, line])
        begun = []
    if "".join(begun).strip():
        yield "".join(begun)
