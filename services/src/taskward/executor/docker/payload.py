"""docker-worker's payload, of all its eras, as the value that every engine takes."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, get_args

from taskward.core.clock import parse_time
from taskward.core.settings import Settings
from taskward.executor.docker.flaws import flaws, late_artifacts
from taskward.executor.docker.request import Device, DockerRequest, Image, backing_log_of
from taskward.executor.payload import DEFAULT_LIVE_LOG, Payload, PayloadRefused
from taskward.executor.payload_artifacts import ArtifactRequest
from taskward.executor.validation import MOST_PROBLEMS, problems

ON_BY_DEFAULT: Final = frozenset({"localLiveLog", "artifacts"})
_SHARED: Final = {"localLiveLog": ("liveLog", "backingLog")}
_RETIRED: Final = {
    "azureLiveLog": "features.azureLiveLog has no effect: the queue no longer knows that kind of artifact; "
    "features.localLiveLog publishes the same log",
    "extendTaskGraph": "",
}
_GRAPHS: Final = (
    "payload.graphs has no effect: the service that extended task graphs no longer exists. A task creates others "
    "through features.taskclusterProxy"
)


def is_docker(payload: object) -> bool:
    """Whether it is docker-worker's: then it says from which image the container is made."""
    return isinstance(payload, Mapping) and "image" in payload


def parse(task_id: str, definition: Mapping[str, Any], settings: Settings) -> Payload:
    """The payload of the task `task_id` with that definition; features go by the names that all engines share.

    Raises:
        PayloadRefused: it does not conform to the schema, or cannot be carried out.
    """
    strict = settings.docker.strict_payload
    payload: Any = definition.get("payload") if strict else _with_text_in_env(definition.get("payload"))
    expires = parse_time(definition["expires"])
    if found := problems(payload, "docker-worker", strict):
        found += islice(late_artifacts(payload, expires), MOST_PROBLEMS)
    if found := found or list(flaws(payload, expires, settings.worker.max_run_time_s)):
        raise PayloadRefused(task_id, found, "docker-worker")
    unknown = [] if strict else [f"ignored in task.payload: {line}" for line in problems(payload, "docker-worker")]
    return _from_valid(payload, (*unknown, *_without_effect(payload)))


def _from_valid(payload: Mapping[str, Any], warnings: tuple[str, ...]) -> Payload:
    switches, on_exit = payload.get("features", {}), payload.get("onExitStatus", {})
    flags = {flag for flag in {*switches, *ON_BY_DEFAULT} if switches.get(flag, flag in ON_BY_DEFAULT)}
    live_log = payload.get("log", DEFAULT_LIVE_LOG)
    artifacts = payload.get("artifacts", {}) if "artifacts" in flags else {}
    return Payload(
        commands=(),
        script=(),
        max_run_time_s=int(payload["maxRunTime"]),
        env=payload.get("env", {}),
        artifacts=tuple(ArtifactRequest.of_container(name, entry) for name, entry in artifacts.items()),
        features=frozenset(_keys(flags)),
        live_log=live_log,
        backing_log=backing_log_of(live_log),
        retry_codes=frozenset(map(int, on_exit.get("retry", ()))),
        mounts=(),
        purge_codes=frozenset(map(int, on_exit.get("purgeCaches", ()))),
        asked=frozenset(_keys({flag for flag in flags if flag in switches})),
        superseder_url=payload.get("supersederUrl", ""),
        encrypted_env=tuple(payload.get("encryptedEnv", ())),
        docker=_docker(payload),
        warnings=warnings,
    )


def _docker(payload: Mapping[str, Any]) -> DockerRequest:
    capabilities = payload.get("capabilities", {})
    devices = capabilities.get("devices", {})
    return DockerRequest(
        image=_image(payload["image"]),
        command=tuple(payload.get("command", ())),
        caches=payload.get("cache", {}),
        privileged=capabilities.get("privileged", False),
        disable_seccomp=capabilities.get("disableSeccomp", False),
        devices=frozenset(name for name in get_args(Device) if devices.get(name)),
        phone=devices.get("phone"),
        graphs=tuple(payload.get("graphs", ())),
    )


def _image(image: str | Mapping[str, str]) -> Image:
    if isinstance(image, str):
        return Image("docker-image", name=image)
    match image["type"]:
        case "docker-image":
            return Image("docker-image", name=image["name"])
        case "indexed-image":
            return Image("indexed-image", namespace=image["namespace"], path=image["path"])
        case _:
            return Image("task-image", task_id=image["taskId"], path=image["path"])


def _keys(flags: set[str]) -> Iterator[str]:
    for flag in flags - _RETIRED.keys():
        yield from _SHARED.get(flag, (flag,))


def _without_effect(payload: Mapping[str, Any]) -> Iterator[str]:
    for flag, wanted in payload.get("features", {}).items():
        if wanted and _RETIRED.get(flag):
            yield _RETIRED[flag]
    if payload.get("graphs"):
        yield _GRAPHS


def _with_text_in_env(payload: Any) -> Any:
    """With values as docker-worker made them into text until 2023, whatever they were."""
    if not isinstance(payload, Mapping) or not isinstance(payload.get("env"), Mapping):
        return payload
    return {**payload, "env": {name: _as_text(value) for name, value in payload["env"].items()}}


def _as_text(value: object) -> object:
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case int() | float():
            return str(value)
        case None:
            return "null"
        case _:
            return value
