"""Payloads with an image."""

from dataclasses import dataclass


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

    `enable_dind` offers `features.dind`, a filtered Docker API. A task may then pull from `dind_registries` (hosts;
    ``docker.io``, ``*`` for all), have `dind_max_containers` at once, and make images of `dind_max_bytes` in all.
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
    enable_dind: bool = False
    dind_registries: tuple[str, ...] = ("docker.io",)
    dind_max_containers: int = 20
    dind_max_bytes: int = 20 << 30
