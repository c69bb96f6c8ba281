"""What is wrong with a task, found without a worker and without Taskcluster: the worker's own checks, all of them."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from redis import Redis

from taskward.cli.resolved import PROXY_PORT
from taskward.core.clock import format_time, parse_time, utc_now
from taskward.core.ids import RunId
from taskward.core.record import Record
from taskward.core.settings import DockerSettings, ExecutorSettings, Settings
from taskward.executor.docker.scopes import Granted, missing
from taskward.executor.errors import MalformedPayload
from taskward.executor.features.feature import admit, objections
from taskward.executor.kind import Kind, kind_of
from taskward.executor.payload import Payload, PayloadRefused
from taskward.executor.payload_advice import mistakes, notes
from taskward.executor.task import Task
from taskward.executor.tasklog import TaskLog

_LONGEST_RUN_TIME_S: Final = 7 * 86_400
_UPSTREAMS: Final = ("balrogVPNProxy", "balrogStageVPNProxy", "relengAPIProxy", "testdroidProxy")
_SHOWN: Final = 100
_FAR: Final = "9999-12-31T23:59:59.999Z"
_SOME_RUN: Final = RunId("AAAAAAAAQAaAAAAAAAAAAA", 0)


@dataclass(frozen=True)
class Problem:
    """`where` is a path in the task definition; `text` says why and what to do."""

    where: str
    text: str


def queue_of(definition: Mapping[str, Any]) -> str:
    """``<provisionerId>/<workerType>`` in either spelling; empty when there is none."""
    old = (definition.get("provisionerId"), definition.get("workerType"))
    return str(definition.get("taskQueueId") or ("/".join(map(str, old)) if all(old) else ""))


def generous(task_queue_id: str, payload: Any) -> Settings:
    """The settings of a worker that offers everything, for when it is not known which worker it will be."""
    groups = payload.get("osGroups") if isinstance(payload, dict) else None
    told = {
        "taskcluster": {"root_url": "https://taskcluster.invalid", "client_id": "any", "access_token_file": os.devnull},
        "worker": {
            "task_queue_id": task_queue_id,
            "worker_group": "any",
            "worker_id": "any",
            "state_dir": "/nonexistent",
            "max_run_time_s": _LONGEST_RUN_TIME_S,
        },
        "proxy": {"container_port": PROXY_PORT, "upstreams": {key: {} for key in _UPSTREAMS}},
    }
    settings = Settings.parse(told, task_queue_id)
    switches = {each.name: True for each in fields(ExecutorSettings) if each.name.startswith("enable_")}
    allowed = tuple(map(str, groups)) if isinstance(groups, list) else ()
    executor = ExecutorSettings(os_groups_allowed=allowed, **switches)  # type: ignore[arg-type]  # booleans, by names
    docker = DockerSettings(allow_privileged=True, allow_disable_seccomp=True, enable_dind=True)
    return replace(settings, executor=executor, docker=docker)


def at_work(settings: Settings) -> Settings:
    """With what a worker adds where it runs, see `resolved`: there, containers have a proxy."""
    proxy = {"container_port": PROXY_PORT, **settings.others.get("proxy", {})}
    return replace(settings, others={**settings.others, "proxy": proxy})


def inspect(definition: Mapping[str, Any], settings: Settings) -> Iterator[Problem]:
    """Every problem that a worker with these settings would have with the task."""
    definition = _with_expiry(definition)
    dates = list(_dates(definition))
    yield from dates
    scopes = definition.get("scopes", [])
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        yield Problem("scopes", f"must be a list of texts (given: {str(scopes)[:_SHOWN]})")
        return
    kind = kind_of(definition)
    try:
        payload = kind.parse("TASK", {**definition, "expires": _FAR} if dates else definition, settings)
    except PayloadRefused as refused:
        yield from (_of_payload(line) for line in refused.problems)
        return
    except MalformedPayload as malformed:
        yield Problem("payload", str(malformed))
        return
    yield from (_of_payload(line) for line in mistakes(payload))
    if not dates:
        yield from _of_container(definition, settings, payload)
        yield from _of_features(definition, settings, payload, kind)


def advise(definition: Mapping[str, Any], settings: Settings) -> Iterator[Problem]:
    """What such a worker would take, though the author may not have meant it; nothing of a payload that it refuses."""
    with contextlib.suppress(MalformedPayload):
        payload = kind_of(definition).parse("TASK", {**definition, "expires": _FAR}, settings)
        yield from (Problem("payload", text) for text in payload.warnings)
        yield from (_of_payload(line) for line in notes(payload))


def _of_container(definition: Mapping[str, Any], settings: Settings, payload: Payload) -> Iterator[Problem]:
    scopes = [str(scope) for scope in definition.get("scopes", ())]
    for text in missing(payload, Granted(scopes, scopes, settings.worker.task_queue_id), settings.docker):
        yield Problem("scopes", text)
    if payload.docker and not settings.docker.enabled:
        yield Problem("payload.image", "this worker has no containers: [docker] enabled is off")
    image_task = payload.docker.image.task_id if payload.docker else ""
    if image_task and image_task not in definition.get("dependencies", ()):
        yield Problem(
            "dependencies", f"{image_task}, which makes the image, is not among them: it may not be there yet"
        )


def _of_features(definition: Mapping[str, Any], settings: Settings, payload: Payload, kind: Kind) -> Iterator[Problem]:
    fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        task = _task(definition, settings, TaskLog(Path(os.devnull), fd), kind)
        task.payload = payload
        for each in kind.features():
            feature = each(task)
            if not feature.requested():
                continue
            found = list(objections(feature))
            yield from (Problem(f"feature {feature.name}", text) for text in found)
            try:
                if not found:
                    admit(feature)
            except MalformedPayload as malformed:
                yield Problem(f"feature {feature.name}", str(malformed))
    finally:
        os.close(fd)


def _task(definition: Mapping[str, Any], settings: Settings, log: TaskLog, kind: Kind) -> Task:
    """A run that is never begun: its features are asked, none is started, and Redis is not called."""
    record = Record(_SOME_RUN, "claimed", "", definition, utc_now(), "any", "any", None, "", ())
    return Task(record, settings, Redis(), log, kind.engine(_SOME_RUN, settings))


def _with_expiry(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """The queue's default: a year after the deadline (taskcluster-services.md, "createTask")."""
    if "expires" in definition:
        return definition
    try:
        return {**definition, "expires": format_time(_a_year_after(parse_time(definition["deadline"])))}
    except (ValueError, TypeError, OverflowError):
        return {**definition, "expires": _FAR}  # the deadline is what is wrong


def _a_year_after(time: datetime) -> datetime:
    """The 1st of March after a 29th of February."""
    try:
        return time.replace(year=time.year + 1)
    except ValueError:
        return time.replace(year=time.year + 1, month=3, day=1)


def _dates(definition: Mapping[str, Any]) -> Iterator[Problem]:
    times: dict[str, datetime] = {}
    for name in ("created", "deadline", "expires"):
        try:
            times[name] = parse_time(definition[name])
        except (ValueError, TypeError, AttributeError, OverflowError):
            text = f"not a time of the form 2026-01-31T12:00:00.000Z: {str(definition[name])[:100]!r}"
            yield Problem(name, text)
    for earlier, later in (("created", "deadline"), ("deadline", "expires")):
        if earlier in times and later in times and times[later] < times[earlier]:
            yield Problem(later, f"{times[later]} is before {earlier}, {times[earlier]}")


def _of_payload(line: str) -> Problem:
    """From ``<path>: <why>``, as `validation.problems` writes it."""
    path, _, why = line.partition(": ")
    return Problem("payload" if path == "(root)" else f"payload.{path}", why)
