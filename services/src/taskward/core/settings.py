"""The configuration file: one TOML for the whole worker, each section one frozen class, unknown keys refused by name.

Every process reads the file once, at its start. Secrets are never in it, only paths to them.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self, get_type_hints

from taskward.core.connection import RedisAddress
from taskward.core.errors import ConfigurationError
from taskward.core.layout import Layout

_IDENTIFIER: Final = re.compile(r"[a-zA-Z0-9_-]{1,38}")
_QUEUE_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,38}/[a-z]([-a-z0-9]{0,36}[a-z0-9])?")


@dataclass(frozen=True)
class TaskclusterSettings:
    """[taskcluster]: which deployment, and who we are there."""

    root_url: str
    client_id: str
    access_token_file: Path
    certificate_file: Path | None = None
    ca_file: Path | None = None
    timeout_s: float = 30.0
    give_up_after_s: float = 300.0


@dataclass(frozen=True)
class WorkerSettings:
    """[worker]: which queue, under which name, how much at once."""

    task_queue_id: str
    worker_group: str
    worker_id: str
    state_dir: Path
    capacity: int = 1
    max_run_time_s: int = 86_400
    grace_s: int = 60


@dataclass(frozen=True)
class ClaimerSettings:
    """[claimer]: how often to ask."""

    status_poll_s: float = 15.0
    renew_before_s: float = 300.0
    pause_s: float = 1.0


@dataclass(frozen=True)
class ExecutorSettings:
    """[executor]: limits of a task; 0 switches a limit off.

    The `enable_…` switches offer features to tasks or refuse them. `os_groups_allowed` names groups that tasks may join
    although membership is as good as being root; see `features/os_groups.py`. A task is aborted when more than
    `max_memory_usage_percent` of the machine's memory is used and less than `min_available_memory_bytes` is left for
    longer than `allowed_high_memory_duration_s`, unless `disable_oom_protection`.
    `required_disk_space_bytes` must be free before a task begins: what earlier tasks left for later ones makes room.
    Desktops of tasks are at `rdp_address`, which clients know as `rdp_public_host`, at `rdp_first_port` or the ports
    after it, one for each executor (0: any free port); `rdp_session` is the program of the desktop, and the task's
    environment is kept for `rdp_retention_s` after the task.
    """

    max_log_bytes: int = 2 << 30
    memory_limit_bytes: int = 0
    pids_limit: int = 0
    max_artifacts: int = 100_000
    required_disk_space_bytes: int = 1 << 30
    max_download_bytes: int = 100 << 30
    max_unpacked_bytes: int = 100 << 30
    max_unpacked_entries: int = 5_000_000
    max_archive_ratio: int = 1000
    mount_timeout_s: int = 3600
    enable_chain_of_trust: bool = True
    enable_encrypted_env: bool = False
    enable_interactive: bool = True
    enable_live_log: bool = True
    enable_loopback_audio: bool = True
    enable_loopback_video: bool = True
    enable_metadata: bool = True
    enable_mounts: bool = True
    enable_os_groups: bool = True
    enable_rdp: bool = False
    enable_resource_monitor: bool = True
    enable_run_task_as_current_user: bool = False
    enable_superseder: bool = True
    enable_taskcluster_proxy: bool = True
    os_groups_allowed: tuple[str, ...] = ()
    superseder_timeout_s: float = 30.0
    loopback_audio_device_number: int = 16
    loopback_video_device_number: int = 0
    max_memory_usage_percent: float = 90.0
    min_available_memory_bytes: int = 500 << 20
    allowed_high_memory_duration_s: float = 5.0
    disable_oom_protection: bool = False
    rdp_address: str = "127.0.0.1"
    rdp_public_host: str = ""
    rdp_first_port: int = 0
    rdp_retention_s: int = 43_200
    rdp_session: tuple[str, ...] = ("/etc/xrdp/startwm.sh",)
    worker_location: str = ""
    instance_type: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DockerSettings:
    """[docker]: payloads with an image; 0 switches a limit off. Memory and processes are limited by [executor].

    `host` is the daemon's socket; a call that takes longer than `timeout_s` has failed. `strict_payload` refuses keys
    that docker-worker's payload does not have; without it they are ignored, each with a line in the task's log, as
    docker-worker did until 2022. The `allow_…` switches are a second lock beside the scope; privileged containers use
    `privileged_runtime`, if there is one. `networks_ready` private networks are kept for the next tasks.
    `cpus` (1.5 is one and a half) limits a task's share of the processors, `restrict_cpu` gives each task one of its
    own. `disk_limit_bytes` is what a container may write into its own file system. `apparmor_profile` is the loaded
    profile of containers with `features.allowPtrace`. What `features.dockerSave` publishes may have `max_saved_bytes`
    each, and expires after `saved_expire_after_s` at the latest. A container with `features.interactive` stays at least
    `interactive_min_s`, and `interactive_linger_s` after each shell, within maxRunTime.
    """

    enabled: bool = True
    host: str = "unix:///var/run/docker.sock"
    timeout_s: float = 60.0
    strict_payload: bool = True
    allow_privileged: bool = False
    allow_disable_seccomp: bool = False
    privileged_runtime: str = ""
    apparmor_profile: str = ""
    shm_size_bytes: int = 1_800_000_000
    cpus: float = 0.0
    restrict_cpu: bool = False
    disk_limit_bytes: int = 0
    networks_ready: int = 2
    max_saved_bytes: int = 20 << 30
    saved_expire_after_s: int = 7 * 86400
    interactive_min_s: int = 180
    interactive_linger_s: int = 900


@dataclass(frozen=True)
class ImageSettings:
    """[images]: file systems of containers; 0 switches a limit off.

    `registries` names, for ``<host>/<user>`` or ``<host>``, a JSON file with ``username`` and ``password`` that nobody
    but the worker may read; tasks need the image's scope then. Names of the form ``<user>/<image>`` are looked up at
    `default_registry`. `pull` is ``always`` (a tag is asked for again when `pull_again_after_s` have passed) or
    ``if-missing``. A registry that sends nothing for `stall_s` is given up. An image that a task made may take
    `timeout_s`, and be `max_download_bytes` large, `max_unpacked_bytes` when unpacked, which is at most `max_ratio`
    times more, with `max_entries` files. What was not used for `expire_after_s` is removed.
    """

    registries: Mapping[str, Any] = field(default_factory=dict)
    default_registry: str = "registry.hub.docker.com"
    pull: str = "always"
    pull_again_after_s: float = 300.0
    stall_s: float = 120.0
    timeout_s: int = 3600
    max_download_bytes: int = 20 << 30
    max_unpacked_bytes: int = 60 << 30
    max_ratio: int = 200
    max_entries: int = 2_000_000
    expire_after_s: float = 7200.0


@dataclass(frozen=True)
class UploaderSettings:
    """[uploader]: how many at once, how long failures of storage are borne, where large gzip results wait.

    `signer_url` (``https://host:port``) is a signer on another host, called with `signer_certificate_file` and
    `signer_key_file`, and believed when its certificate is of `signer_ca_file`; empty is the one on this host.
    """

    processes: int = 1
    concurrency: int = 10
    storage: str = "s3"
    give_up_after_s: float = 900.0
    spool_dir: Path | None = None
    signer_url: str = ""
    signer_ca_file: Path | None = None
    signer_certificate_file: Path | None = None
    signer_key_file: Path | None = None


@dataclass(frozen=True)
class EnvironmentSettings:
    """[environment]: what the signer may say of this machine."""

    public_ip_address: str = ""
    private_ip_address: str = ""
    instance_id: str = ""
    instance_type: str = ""
    region: str = ""


@dataclass(frozen=True)
class Settings:
    """The sections that the queue's processes share; gateway, proxy, signer and keyholder read their own."""

    taskcluster: TaskclusterSettings
    worker: WorkerSettings
    claimer: ClaimerSettings
    executor: ExecutorSettings
    docker: DockerSettings
    images: ImageSettings
    uploader: UploaderSettings
    environment: EnvironmentSettings
    others: Mapping[str, Mapping[str, Any]]

    @property
    def layout(self) -> Layout:
        """Paths below the state directory."""
        return Layout(self.worker.state_dir)

    def redis(self, role: str) -> RedisAddress:
        """How `role` reaches Redis."""
        return RedisAddress(self.layout.redis_socket, role, self.layout.redis_password(role))

    @classmethod
    def load(cls, path: Path) -> Self:
        """The settings in `path`.

        Raises:
            ConfigurationError: the file cannot be read, or says something that is not understood.
        """
        return cls.parse(tables(path), str(path))

    @classmethod
    def parse(cls, data: Mapping[str, Any], where: str) -> Self:
        """The settings in `data`; `where` names them in errors."""
        refuse_unknown(data, {*SECTIONS, *OTHER_SECTIONS}, where, "section")
        sections = {name: section(kind, data.get(name, {}), f"{where}: [{name}]") for name, kind in SECTIONS.items()}
        others = {name: data[name] for name in OTHER_SECTIONS if name in data}
        settings = cls(**sections, others=others)
        _check(settings, where)
        return settings


SECTIONS: Final[dict[str, type[Any]]] = {
    "taskcluster": TaskclusterSettings,
    "worker": WorkerSettings,
    "claimer": ClaimerSettings,
    "executor": ExecutorSettings,
    "docker": DockerSettings,
    "images": ImageSettings,
    "uploader": UploaderSettings,
    "environment": EnvironmentSettings,
}
"""Those that are read here."""

OTHER_SECTIONS: Final = ("gateway", "proxy", "signer", "keyholder", "decrypter")
"""Those that their processes read themselves."""


def tables(path: Path) -> dict[str, Any]:
    """What is written in `path`, unchecked.

    Raises:
        ConfigurationError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from error


def section(kind: type[Any], data: Any, where: str) -> Any:
    """A frozen settings class from a TOML table.

    Raises:
        ConfigurationError: an unknown or missing key, or a value of another type.
    """
    if not isinstance(data, dict):
        raise ConfigurationError(f"{where}: must be a table")
    hints = get_type_hints(kind)
    refuse_unknown(data, set(hints), where, "key")
    for each in fields(kind):
        if each.name not in data and each.default is MISSING and each.default_factory is MISSING:
            raise ConfigurationError(f"{where}: {each.name} is missing")
    return kind(**{name: checked(value, hints[name], f"{where} {name}") for name, value in data.items()})


def refuse_unknown(data: Mapping[str, Any], known: set[str], where: str, what: str) -> None:
    """Names the first unknown key and the nearest known one.

    Raises:
        ConfigurationError: there is an unknown key.
    """
    for name in data:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(sorted(known))}"
            raise ConfigurationError(f"{where}: unknown {what} {name!r}; {hint}")


def checked(value: Any, hint: Any, where: str) -> Any:
    """A TOML value as a setting of type `hint`.

    Raises:
        ConfigurationError: it has another type; `where` names it.
    """
    if hint in (Path, Path | None):
        if not isinstance(value, str) or not value.startswith("/"):
            raise ConfigurationError(f"{where}: must be an absolute path, not {value!r}")
        return Path(value)
    if hint is float and type(value) is int:
        return float(value)
    if hint == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ConfigurationError(f"{where}: must be an array of strings, not {value!r}")
        return tuple(value)
    if hint in (int, float, str, bool) and type(value) is not hint:
        raise ConfigurationError(f"{where}: must be {hint.__name__}, not {value!r}")
    return value


def _check(settings: Settings, where: str) -> None:
    worker, root = settings.worker, settings.taskcluster.root_url
    if not re.fullmatch(r"https?://[^/\s]+", root.rstrip("/")):
        raise ConfigurationError(f"{where}: [taskcluster] root_url: must be http(s)://host[:port], not {root!r}")
    if not _QUEUE_ID.fullmatch(worker.task_queue_id):
        raise ConfigurationError(
            f"{where}: [worker] task_queue_id: must be <provisionerId>/<workerType>, each of at most 38 letters, "
            f"digits, - and _ (the workerType lower case), not {worker.task_queue_id!r}"
        )
    for name in ("worker_group", "worker_id"):
        if not _IDENTIFIER.fullmatch(getattr(worker, name)):
            raise ConfigurationError(f"{where}: [worker] {name}: must be 1 to 38 letters, digits, - and _, no dots")
    for name, low, high in (("capacity", 1, 255), ("max_run_time_s", 1, 86_400 * 7), ("grace_s", 1, 3600)):
        if not low <= getattr(worker, name) <= high:
            raise ConfigurationError(f"{where}: [worker] {name}: must be {low} to {high}")
    executor = settings.executor
    if not (0 <= executor.rdp_first_port <= 65_535 - worker.capacity and executor.rdp_retention_s >= 0):
        raise ConfigurationError(
            f"{where}: [executor] rdp_first_port must be 0 or leave a port for each executor, rdp_retention_s 0 or more"
        )
    if not executor.rdp_session:
        raise ConfigurationError(f"{where}: [executor] rdp_session: must have at least the program")
    if not 1 <= settings.uploader.concurrency <= 64:
        raise ConfigurationError(f"{where}: [uploader] concurrency: must be 1 to 64")
    if settings.images.pull not in ("always", "if-missing"):
        raise ConfigurationError(f"{where}: [images] pull: must be 'always' or 'if-missing'")
    for name, path in settings.images.registries.items():
        if not isinstance(path, str) or not path.startswith("/"):
            raise ConfigurationError(
                f"{where}: [images] registries: {name!r} must name the absolute path of a JSON file with username and "
                "password; keys with dots are to be quoted"
            )
    _check_signer(settings.uploader, where)
    if settings.uploader.storage not in ("s3", "object"):
        raise ConfigurationError(f"{where}: [uploader] storage: must be 's3' or 'object'")
    if len(bytes(settings.layout.keyholder_socket)) > 100:
        raise ConfigurationError(f"{where}: [worker] state_dir: too long for Unix sockets; choose a shorter path")


def _check_signer(uploader: UploaderSettings, where: str) -> None:
    if not uploader.signer_url:
        return
    if not re.fullmatch(r"https://[^/:@\s]+:\d{1,5}/?", uploader.signer_url):
        raise ConfigurationError(
            f"{where}: [uploader] signer_url: must be https://host:port, not {uploader.signer_url!r}"
        )
    for name in ("signer_ca_file", "signer_certificate_file", "signer_key_file"):
        if getattr(uploader, name) is None:
            raise ConfigurationError(f"{where}: [uploader] {name} is missing; signer_url needs it")
