"""Tasks, whatever runs them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from taskward.core.errors import ConfigurationError

_WHOLE_PERCENT: Final = 100


@dataclass(frozen=True)
class ExecutorSettings:
    """[executor]: limits of a task; 0 switches a limit off.

    The `enable_…` switches offer features to tasks or refuse them. `os_groups_allowed` names groups that tasks may join
    although membership is as good as being root; see `features/os_groups.py`. A task is aborted when more than
    `max_memory_usage_percent` of the machine's memory is used and less than `min_available_memory_bytes` is left for
    longer than `allowed_high_memory_duration_s`, unless `disable_oom_protection`.
    Without `pids_limit` a task may have a quarter of the processes that the kernel can have, at most 16384.
    `max_artifacts_bytes` counts all files of a run together, holes of sparse ones included: they are sent, too.
    `required_disk_space_bytes` must be free before a task begins: what earlier tasks left for later ones makes room.
    A task during which less than `min_free_disk_bytes` is left there is aborted, and loses its files. `required_inodes`
    and `min_free_inodes` are the same for the number of files that the disk can still take, but never more than a
    quarter and a tenth of all that it can.
    Desktops of tasks are at `rdp_address`, which clients know as `rdp_public_host`, at `rdp_first_port` or the ports
    after it, one for each executor (0: any free port); `rdp_session` is the program of the desktop, and the task's
    environment is kept for `rdp_retention_s` after the task.
    """

    max_log_bytes: int = 2 << 30
    memory_limit_bytes: int = 0
    pids_limit: int = 0
    max_artifacts: int = 100_000
    max_artifacts_bytes: int = 100 << 30
    required_disk_space_bytes: int = 1 << 30
    min_free_disk_bytes: int = 128 << 20
    required_inodes: int = 10_000
    min_free_inodes: int = 1000
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
    rdp_clipboard: bool = False
    worker_location: str = ""
    instance_type: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and value < 0:
                raise ConfigurationError(f"{each.name}: must be 0 or more, not {value}")
        if self.max_memory_usage_percent > _WHOLE_PERCENT:
            raise ConfigurationError(
                f"max_memory_usage_percent: must be 0 to {_WHOLE_PERCENT}, not {self.max_memory_usage_percent}; "
                "disable_oom_protection switches it off"
            )
        if not self.rdp_session:
            raise ConfigurationError("rdp_session: must have at least the program")
