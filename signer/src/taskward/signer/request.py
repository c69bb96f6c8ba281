"""What a caller may send to ``POST /v1/certify``."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from taskward.signer import jsontext
from taskward.signer.answers import InvalidRequestError
from taskward.signer.wire import FORMS

MAX_REQUEST_BYTES: Final = 32 * 1024 * 1024
MAX_ARTIFACTS: Final = 100_000

_TASK_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,128}")
_NAME = re.compile(r"[\x20-\x7e]{1,1024}")
_CONTENT_TYPE = re.compile(r"[\x20-\x7e]{1,255}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_IMAGE_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_RUN_ID = 1000
_MAX_SIZE_BYTES = 2**63 - 1


@dataclass(frozen=True)
class Artifact:
    """One uploaded artifact; hash and size are those of the content before any content encoding."""

    name: str
    sha256: str
    size_bytes: int
    content_type: str | None


@dataclass(frozen=True)
class CertifyRequest:
    """A well-formed request; whether it is granted is the policy's matter."""

    task_id: str
    run_id: int
    nonce: str
    forms: frozenset[str]
    artifacts: tuple[Artifact, ...]
    environment: Mapping[str, str]
    digest: str
    """Hex SHA-256 over everything but the nonce: two requests with the same one ask for the same."""

    @classmethod
    def parse(cls, text: bytes) -> "CertifyRequest":
        """Raises `InvalidRequestError` that names the offending key."""
        try:
            value = jsontext.parse(text)
        except jsontext.BadJsonError as error:
            raise _invalid(str(error)) from error
        table = _table(value, "the request", {"taskId", "runId", "nonce", "artifacts"}, {"forms", "environment"})
        without_nonce = {key: item for key, item in table.items() if key != "nonce"}
        return cls(
            task_id=_text(table["taskId"], "taskId", _TASK_ID),
            run_id=_number(table["runId"], "runId", _MAX_RUN_ID),
            nonce=_text(table["nonce"], "nonce", _NONCE),
            forms=_forms(table.get("forms")),
            artifacts=_artifacts(table["artifacts"]),
            environment=_environment(table.get("environment", {})),
            digest=hashlib.sha256(jsontext.canonical(without_nonce)).hexdigest(),
        )


def _forms(value: Any) -> frozenset[str]:
    if value is None:
        return frozenset(FORMS)
    if not isinstance(value, list) or not value or not all(form in FORMS for form in value):
        raise _invalid(f"forms has to be a list of some of {', '.join(FORMS)}")
    return frozenset(value)


def _artifacts(value: Any) -> tuple[Artifact, ...]:
    if not isinstance(value, list) or len(value) > MAX_ARTIFACTS:
        raise _invalid(f"artifacts has to be a list of at most {MAX_ARTIFACTS} entries")
    artifacts = tuple(_artifact(entry, f"artifacts[{index}]") for index, entry in enumerate(value))
    names: set[str] = set()
    for artifact in artifacts:
        if artifact.name in names:
            raise _invalid(f"artifact {artifact.name!r} is given twice")
        names.add(artifact.name)
    return artifacts


def _artifact(value: Any, where: str) -> Artifact:
    table = _table(value, where, {"name", "sha256", "size_bytes"}, {"content_type"})
    content_type = table.get("content_type")
    return Artifact(
        name=_text(table["name"], f"{where}.name", _NAME),
        sha256=_text(table["sha256"], f"{where}.sha256", _SHA256),
        size_bytes=_number(table["size_bytes"], f"{where}.size_bytes", _MAX_SIZE_BYTES),
        content_type=(None if content_type is None else _text(content_type, f"{where}.content_type", _CONTENT_TYPE)),
    )


def _environment(value: Any) -> dict[str, str]:
    table = _table(value, "environment", set(), {"imageHash", "imageArtifactHash"})
    return {key: _text(item, f"environment.{key}", _IMAGE_HASH) for key, item in sorted(table.items())}


def _table(value: Any, where: str, required: set[str], optional: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(f"{where} has to be an object")
    if missing := required - value.keys():
        raise _invalid(f"{where} lacks {', '.join(sorted(missing))}")
    if unknown := value.keys() - required - optional:
        raise _invalid(f"{where} has unknown keys: {', '.join(sorted(unknown))[:200]}")
    return value


def _text(value: Any, where: str, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _invalid(f"{where} has to be a string of the form {pattern.pattern}")
    return value


def _number(value: Any, where: str, largest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise _invalid(f"{where} has to be a whole number from 0 to {largest}")
    return value


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError("invalid-request", message)
