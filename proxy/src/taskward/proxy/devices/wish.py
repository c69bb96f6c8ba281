"""What a task asks for: the body of ``POST /device``."""

import json
from dataclasses import dataclass
from typing import Final, Self

from taskward.proxy.errors import RequestError

_REQUIRED: Final = ("type", "build", "memory")
_OPTIONAL: Final = ("sims", "imei", "phone_number")
_GROUPS: Final = {
    "type": "Codename",
    "build": "Build Identifier",
    "sims": "SIMs",
    "imei": "IMEI",
    "phone_number": "Phone Number",
}
_MAX_CHARS: Final = 4096


@dataclass(frozen=True)
class Wish:
    """A phone of a type, with a build (a URL) and so much memory; `others` are labels that it must have."""

    type: str
    build: str
    memory: str
    others: dict[str, str]

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """From JSON; RequestError (400) names what is wrong with it."""
        try:
            given = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _invalid(f"the body is not JSON: {error}") from error
        if not isinstance(given, dict):
            raise _invalid("the body must be a JSON object")
        for key in given:
            if key not in (*_REQUIRED, *_OPTIONAL):
                raise _invalid(f'"{key[:100]}" is not allowed')
        for key in _REQUIRED:
            if key not in given:
                raise _invalid(f'"{key}" is required')
        for key, value in given.items():
            if not isinstance(value, str) or not 0 < len(value) <= _MAX_CHARS or not value.isprintable():
                raise _invalid(f'"{key}" must be a string')
        others = {key: given[key] for key in _OPTIONAL if key in given}
        return cls(given["type"], given["build"], given["memory"], others)

    @property
    def build_label(self) -> str:
        """What the cloud calls a phone that has this build and so much memory."""
        return f"{self.memory}_{self.build}"

    @property
    def labels(self) -> dict[str, str]:
        """Label group → label, all of which the phone must have."""
        wanted = {"type": self.type, "build": self.build_label, **self.others}
        return {_GROUPS[key]: value for key, value in wanted.items()}


def _invalid(reason: str) -> RequestError:
    return RequestError(400, "InvalidDevice", reason)
