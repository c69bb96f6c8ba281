"""Parameters that are passed on: what each may look like."""

import re
from typing import Final

from taskward.executor.docker.dind.errors import WRONG, Refusal
from taskward.executor.docker.dind.fields import Fields

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


def filters(fields: Fields, known: tuple[str, ...]) -> dict[str, list[str]]:
    """Either way of writing them: ``{"name": ["a"]}`` and ``{"name": {"a": true}}``."""
    found: dict[str, list[str]] = {}
    for name in known:
        if values := fields.set_of_texts(name):
            found[name] = values
    fields.close()
    return found
