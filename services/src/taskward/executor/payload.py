"""What a task asks for: generic-worker's payload as a value."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from taskward.executor import names, payload_artifacts
from taskward.executor.docker.request import DockerRequest
from taskward.executor.errors import MalformedPayload
from taskward.executor.mounts import request as mount_requests
from taskward.executor.payload_artifacts import ArtifactRequest
from taskward.executor.validation import Dialect, problems

DEFAULT_LIVE_LOG: Final = "public/logs/live.log"
DEFAULT_BACKING_LOG: Final = "public/logs/live_backing.log"
ON_BY_DEFAULT: Final = frozenset({"liveLog", "backingLog", "resourceMonitor"})


class PayloadRefused(MalformedPayload):
    """The payload does not conform to the schema of its `dialect`; `problems` lists why, one line each."""

    def __init__(self, task_id: str, found: Sequence[str], dialect: Dialect = "generic-worker") -> None:
        super().__init__(f"validation of payload failed for task {task_id}")
        self.problems, self.dialect = tuple(found), dialect


@dataclass(frozen=True)
class Payload:
    """A valid payload.

    Attributes:
        commands: argument vectors, run one after the other; empty for a script.
        script: pieces of one shell script; empty for commands.
        max_run_time_s: how long they may take together.
        env: variables that the task sets; those of `encrypted_env` are among them once they are open.
        artifacts: what to keep.
        features: keys of the features that are on.
        live_log: artifact name.
        backing_log: artifact name.
        retry_codes: exit codes that make a failure intermittent.
        mounts: what is to be in the task directory.
        purge_codes: exit codes after which the caches among the mounts are thrown away.
        asked: keys of the features that the payload itself switches on.
        os_groups: what the task's user shall be a member of.
        superseder_url: who knows the tasks that supersede this one; may be empty.
        rdp_info: name of the artifact that tells how to log in to the task's desktop; empty for no desktop.
        encrypted_env: variables as OpenPGP messages, base64.
        docker: what only containers have; None for a task without an image.
        warnings: what was left out of account, one line each.
    """

    commands: tuple[tuple[str, ...], ...]
    script: tuple[str, ...]
    max_run_time_s: int
    env: Mapping[str, str] = field(repr=False)
    artifacts: tuple[ArtifactRequest, ...]
    features: frozenset[str]
    live_log: str
    backing_log: str
    retry_codes: frozenset[int]
    mounts: tuple[mount_requests.Mount, ...]
    purge_codes: frozenset[int]
    asked: frozenset[str] = frozenset()
    os_groups: tuple[str, ...] = ()
    superseder_url: str = ""
    rdp_info: str = ""
    encrypted_env: tuple[str, ...] = ()
    docker: DockerRequest | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def parse(cls, task_id: str, payload: Any, longest_run_time_s: int) -> Self:
        """The payload of task `task_id`.

        Raises:
            PayloadRefused: it does not conform to the schema.
            MalformedPayload: it asks for something that this worker does not offer.
        """
        if found := problems(payload) or list(_flaws(payload)):
            raise PayloadRefused(task_id, found)
        _refuse_unsupported(payload)
        if payload["maxRunTime"] > longest_run_time_s:
            raise MalformedPayload(
                f"task's maxRunTime of {payload['maxRunTime']} exceeded allowed maximum of {longest_run_time_s}"
            )
        return cls._from_valid(payload)

    @classmethod
    def _from_valid(cls, payload: Mapping[str, Any]) -> Self:
        command, logs = payload["command"], payload.get("logs", {})
        switches = payload.get("features", {})
        is_script = isinstance(command[0], str)
        return cls(
            commands=() if is_script else tuple(tuple(argv) for argv in command),
            script=tuple(command) if is_script else (),
            max_run_time_s=int(payload["maxRunTime"]),
            env=payload.get("env", {}),
            artifacts=tuple(ArtifactRequest.parse(entry) for entry in payload.get("artifacts", ())),
            features=frozenset(key for key in {*switches, *ON_BY_DEFAULT} if switches.get(key, key in ON_BY_DEFAULT)),
            live_log=logs.get("live", DEFAULT_LIVE_LOG),
            backing_log=logs.get("backing", DEFAULT_BACKING_LOG),
            retry_codes=frozenset(payload.get("onExitStatus", {}).get("retry", ())),
            mounts=tuple(mount_requests.parse(entry) for entry in payload.get("mounts", ())),
            purge_codes=frozenset(payload.get("onExitStatus", {}).get("purgeCaches", ())),
            asked=frozenset(key for key, wanted in switches.items() if wanted),
            os_groups=tuple(payload.get("osGroups", ())),
            superseder_url=payload.get("supersederUrl", ""),
            rdp_info=payload.get("rdpInfo", ""),
            encrypted_env=tuple(payload.get("encryptedEnv", ())),
        )


def _flaws(payload: Mapping[str, Any]) -> Iterator[str]:
    """What the schema cannot say."""
    yield from _mixed(payload)
    yield from bad_names(payload.get("env", {}))
    yield from bad_logs({f"logs.{key}": name for key, name in payload.get("logs", {}).items()})
    yield from payload_artifacts.flaws(payload.get("artifacts", ()))
    yield from mount_requests.flaws(payload.get("mounts", ()))


def _mixed(payload: Mapping[str, Any]) -> list[str]:
    if len({type(entry) for entry in payload["command"]}) > 1:
        return ["command: all entries must be of one kind, argument vectors (arrays) or script lines (strings)"]
    return []


def bad_names(env: Mapping[str, str]) -> list[str]:
    """Names that no environment can have, as lines that tell so."""
    return [f"env: {name!r} is not a name for a variable" for name in env if not name or "=" in name]


def bad_logs(wanted: Mapping[str, str]) -> list[str]:
    """Names that no log can have, by where they stand; the log has its usual name then, and tells so."""
    refused = ((where, name, names.refusal(name)) for where, name in wanted.items())
    return [f"{where}: no artifact can be named '{names.shown(name)}': {why}" for where, name, why in refused if why]


def _refuse_unsupported(payload: Mapping[str, Any]) -> None:
    if payload.get("features", {}).get("runAsAdministrator"):
        raise MalformedPayload(
            "payload.features.runAsAdministrator is for Windows: this worker's tasks have no administrator to become. "
            "Remove it; payload.osGroups gives a task further rights, features.runTaskAsCurrentUser those of the worker"
        )
    if payload.get("taskclusterProxyInterface", "localhost") != "localhost":
        raise MalformedPayload("payload.taskclusterProxyInterface: this worker only offers 'localhost'")
