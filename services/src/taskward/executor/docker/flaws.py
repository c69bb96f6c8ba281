"""What is wrong with a payload that conforms to docker-worker's schema; one line each as ``<path>: <why>``."""

import posixpath
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from taskward.core.clock import format_time, parse_time
from taskward.executor.docker.request import backing_log_of, saved_cache
from taskward.executor.names import namespace_refusal, refusal, shown
from taskward.executor.payload import bad_logs, bad_names
from taskward.executor.payload_artifacts import ArtifactRequest

_LONGEST_BYTES: Final = 128 * 1024 - 1  # MAX_ARG_STRLEN, with the final NUL


def flaws(payload: Mapping[str, Any], expires: datetime, longest_run_time_s: int) -> Iterator[str]:
    """All of them.

    Args:
        payload: conforms to the schema.
        expires: when the task does.
        longest_run_time_s: the worker's limit.
    """
    if (seconds := payload["maxRunTime"]) > longest_run_time_s:
        yield f"maxRunTime: must be at most {longest_run_time_s}, the most that this worker allows (given: {seconds})"
    yield from bad_names(payload.get("env", {}))
    if "log" in payload:
        yield from bad_logs({"log": payload["log"]}) or bad_logs({"log": backing_log_of(payload["log"])})
    yield from late_artifacts(payload, expires)
    if payload.get("features", {}).get("artifacts", True):
        yield from _bad_artifacts(payload.get("artifacts", {}))
    yield from _bad_mounts(payload)
    yield from _too_long(payload)
    if payload.get("features", {}).get("dockerSave"):
        yield from _unsavable_caches(payload.get("cache", {}))
    if isinstance(payload["image"], Mapping):
        yield from _bad_image(payload["image"])


def _too_long(payload: Mapping[str, Any]) -> Iterator[str]:
    """What no program can be given: the kernel says no more than "argument list too long", when it is started."""
    env = {f"env.{shown(name)}": f"{name}={value}" for name, value in payload.get("env", {}).items()}
    arguments = {f"command.{number}": text for number, text in enumerate(payload.get("command", ()))}
    for where, text in (env | arguments).items():
        if (size := len(text.encode())) > _LONGEST_BYTES:
            what = "name, = and value have" if where in env else "it has"
            yield f"{where}: {what} {size} bytes, and Linux gives a program at most {_LONGEST_BYTES} in one text"


def _unsavable_caches(caches: Mapping[str, str]) -> Iterator[str]:
    for cache in caches:
        if why := refusal(saved_cache(cache)):
            yield f"features.dockerSave: no artifact can be named '{shown(saved_cache(cache))}': {why}"


def _bad_artifacts(artifacts: Mapping[str, Any]) -> Iterator[str]:
    for name, entry in artifacts.items():
        if why := ArtifactRequest.of_container(name, entry).flaw():
            yield f"artifacts.{shown(name)}: no artifact can be named '{shown(name)}': {why}"


def _bad_image(image: Mapping[str, str]) -> Iterator[str]:
    """Names that could lead a call to another artifact than the one that is asked about."""
    if "path" in image and (why := refusal(image["path"])):
        yield f"image.path: no artifact can be named '{shown(image['path'])}': {why}"
    if "namespace" in image and (why := namespace_refusal(image["namespace"])):
        yield f"image.namespace: {why}"


def late_artifacts(payload: object, expires: datetime) -> Iterator[str]:
    """Artifacts that would outlive their task, in docker-worker's words, with the dates as Taskcluster writes them.

    Of any payload: docker-worker told these beside what does not conform to the schema.
    """
    artifacts = payload.get("artifacts") if isinstance(payload, Mapping) else None
    for name, entry in artifacts.items() if isinstance(artifacts, Mapping) else ():
        if (own := _expiry(entry)) is not None and own > expires:
            told = shown(name)
            yield (
                f"artifacts.{told}.expires: Artifact expiration for '{told}' must not be greater than task expiration. "
                f"Artifact expiration is '{format_time(own)}' but task expiration is '{format_time(expires)}'"
            )


def _expiry(entry: Any) -> datetime | None:
    try:
        return parse_time(entry["expires"])
    except (KeyError, TypeError, ValueError):  # the schema's affair
        return None


def _bad_mounts(payload: Mapping[str, Any]) -> Iterator[str]:
    """Docker takes ``<source>:<place>:<options>`` and would read a colon in a place as the beginning of options."""
    if "" in payload.get("cache", {}):
        yield "cache: the name of a cache must not be empty"
    taken: dict[str, str] = {}
    for where, place in _mounts(payload):
        plain = posixpath.normpath(place)
        if not place.startswith("/") or ":" in place:
            yield f"{where}: must be an absolute path in the container, without a colon (given: {place[:200]!r})"
        elif not plain.strip("/"):
            yield f"{where}: must not be the root of the container"
        elif plain in taken:
            yield f"{where}: {taken[plain]} is at that path already (given: {place[:200]!r})"
        taken.setdefault(plain, where)


def _mounts(payload: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, place in payload.get("cache", {}).items():
        yield f"cache.{shown(name)}", place
    for name, entry in payload.get("artifacts", {}).items():
        if entry["type"] == "volume":
            yield f"artifacts.{shown(name)}.path", posixpath.join("/", entry["path"])
