"""What is not refused in a payload, though its author will hardly want it: for `taskward lint`, before there is a run.

The lines are of the form ``<path>: <why>``.
"""

import posixpath
from collections.abc import Iterator, Sequence
from typing import Final

from taskward.executor import names
from taskward.executor.payload import Payload
from taskward.executor.payload_artifacts import ArtifactRequest

_BRIEF_LOG: Final = (
    "features.backingLog: is off, so the log can only be read while the task runs; the live log's artifact leads "
    "nowhere afterwards"
)


def mistakes(payload: Payload) -> Iterator[str]:
    """With which no run can end well: it is not known before it has run how badly."""
    if payload.docker is None:
        yield from _outside(payload.artifacts)
        yield from _conflicts(payload.artifacts)


def notes(payload: Payload) -> Iterator[str]:
    """With which a run may complete."""
    if {"liveLog", "backingLog"} & payload.features == {"liveLog"}:
        yield _BRIEF_LOG
    for where, name in _kept(payload):
        if why := names.obstacle(name):
            yield f"{where}: readers may fail to fetch '{names.shown(name)}': {why}"


def _kept(payload: Payload) -> Iterator[tuple[str, str]]:
    """Names of what is uploaded, and where in the payload they stand."""
    for number, request in enumerate(payload.artifacts):
        key = number if payload.docker is None else names.shown(request.name)
        yield f"artifacts.{key}", request.artifact_name()
    if "backingLog" in payload.features:
        yield "logs.backing" if payload.docker is None else "log", payload.backing_log


def _outside(requests: Sequence[ArtifactRequest]) -> Iterator[str]:
    """generic-worker looks for them, and fails the task if it finds nothing: so does this worker."""
    for number, request in enumerate(requests):
        if posixpath.normpath(request.path).split("/")[0] == ".." and not request.optional:
            given = names.shown(request.path)
            yield f"artifacts.{number}.path: leads out of the task directory; give an absolute path (given: '{given}')"


def _conflicts(requests: Sequence[ArtifactRequest]) -> Iterator[str]:
    """generic-worker uploads the first of them, and ends the task as malformed at the second: so does this worker."""
    first: dict[str, int] = {}
    for number, request in enumerate(requests):
        if request.type != "file":
            continue
        name = request.artifact_name()
        other = first.setdefault(name, number)
        if _content(requests[other]) != _content(request):
            yield f"artifacts.{number}: artifacts.{other} is named '{names.shown(name)}', too, and has other content"


def _content(request: ArtifactRequest) -> tuple[object, ...]:
    place = posixpath.normpath(request.path)
    return place, request.content_type, request.content_encoding, request.expires
