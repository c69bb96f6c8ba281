"""Parameters that are passed on: what each may look like."""

import re
from typing import Final

from taskward.executor.docker.dind.errors import WRONG, Refusal, forbidden
from taskward.executor.docker.dind.fields import Fields
from taskward.executor.docker.dind.wire import Wire

DETACH_KEYS: Final = re.compile(r"[A-Za-z0-9@^\[\]\\_,-]{0,64}")
NUMBER: Final = re.compile(r"-?[0-9]{0,9}")


def checked(text: str, pattern: "re.Pattern[str]") -> str:
    """`text`, if it is what it should be.

    Raises:
        Refusal: it is not.
    """
    if not pattern.fullmatch(text):
        raise Refusal(WRONG, f"the parameter {text[:100]!r} is not understood")
    return text


def require_platform(wire: Wire, wanted: str) -> None:
    """That an image for `wanted` (``linux/amd64``; empty for any) is one for here.

    Raises:
        Refusal: it is not.
    """
    system, _, machine = wanted.partition("/")
    if wanted:
        told = wire.ask("GET", "version")
        if system != told["Os"] or machine.partition("/")[0] not in ("", told["Arch"]):
            raise forbidden(f"platform: {wanted[:100]!r}; there is {told['Os']}/{told['Arch']}")


def filters(fields: Fields, known: tuple[str, ...]) -> dict[str, list[str]]:
    """Either way of writing them: ``{"name": ["a"]}`` and ``{"name": {"a": true}}``."""
    found: dict[str, list[str]] = {}
    for name in known:
        if values := fields.set_of_texts(name):
            found[name] = values
    fields.close()
    return found
