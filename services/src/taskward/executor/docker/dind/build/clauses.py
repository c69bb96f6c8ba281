"""What single instructions say, in the API's terms; each raises `BuildFailed` where they say nothing."""

import re
from collections.abc import Mapping
from typing import Final

from taskward.executor.docker.dind.build.dockerfile import Instruction, instruction
from taskward.executor.docker.dind.build.errors import BuildFailed
from taskward.executor.docker.dind.build.words import expand, raw_words

_UNITS_NS: Final = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")
_PORT: Final = re.compile(r"\d{1,5}(-\d{1,5})?(/(tcp|udp|sctp))?")


def pairs(text: str, variables: Mapping[str, str]) -> dict[str, str]:
    """``a=1 b="2 3"``, or as of old ``a 1 2 3``."""
    first, _, rest = text.partition(" ")
    if "=" not in first:
        return {first: expand(rest.strip(), variables)}
    found = {}
    for word in raw_words(text):
        name, has_value, value = word.partition("=")
        if not has_value:
            raise BuildFailed(f"{word!r}: name=value was expected")
        found[expand(name, variables)] = expand(value, variables)
    return found


def port(text: str) -> str:
    """Of ``EXPOSE``, with its protocol."""
    if not _PORT.fullmatch(text):
        raise BuildFailed(f"{text!r} is no port")
    return text if "/" in text else f"{text}/tcp"


def health(step: Instruction) -> dict[str, object]:
    """Of ``HEALTHCHECK``."""
    kind, _, text = step.text.partition(" ")
    if kind.upper() == "NONE":
        return {"Test": ["NONE"]}
    if kind.upper() != "CMD":
        raise BuildFailed("HEALTHCHECK: CMD or NONE was expected")
    inner = instruction(f"CMD {text.strip()}")
    test = ["CMD", *inner.argv] if inner.argv is not None else ["CMD-SHELL", inner.text]
    names = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
    times = {names[name]: _duration_ns(value) for name, value in step.flags.items() if name in names}
    return {"Test": test, **times, "Retries": number(step.flags.get("retries", "0"))}


def _duration_ns(text: str) -> int:
    found = _DURATION.findall(text)
    if "".join(number + unit for number, unit in found) != text or not found:
        raise BuildFailed(f"{text!r} is no duration, like 30s or 1m30s")
    return sum(round(float(number) * _UNITS_NS[unit]) for number, unit in found)


def trigger(text: str) -> Instruction:
    """Of ``ONBUILD``."""
    inner = instruction(text)
    if inner.keyword in ("ONBUILD", "FROM", "MAINTAINER"):
        raise BuildFailed(f"{inner.keyword} isn't allowed as an ONBUILD trigger")
    return inner


def number(text: str) -> int:
    """Where nothing else can be meant (any more)."""
    if not text.isdigit() or len(text) > 9:
        raise BuildFailed(f"{text[:50]!r} is no number, and no name of the image")
    return int(text)
