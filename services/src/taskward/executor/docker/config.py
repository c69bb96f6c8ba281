"""A container as the daemon's API wants it described (``POST /containers/create``)."""

from collections.abc import Mapping
from typing import Any, Final

from taskward.core.settings import DockerSettings, ExecutorSettings
from taskward.executor.ceiling import most_processes
from taskward.executor.docker.network import Network
from taskward.executor.docker.outfit import Bind, Outfit
from taskward.executor.engine import Program

_LOCAL_NAME: Final = "localhost.localdomain:127.0.0.1"
_DROPPED: Final = ("NET_RAW",)  # with raw sockets a container could forge where its packets come from


def container_config(
    program: Program,
    outfit: Outfit,
    network: Network,
    labels: Mapping[str, str],
    cgroup_parent: str,
    docker: DockerSettings,
    limits: ExecutorSettings,
) -> dict[str, Any]:
    """Everything, as a JSON object.

    Args:
        program: an empty argv leaves the command to the image.
        outfit: what features have added.
        network: the only one that it is in.
        labels: who owns it.
        cgroup_parent: control group to be made below; empty for the daemon's own.
        docker: the worker's settings.
        limits: of memory and processes.
    """
    config: dict[str, Any] = {
        "Image": outfit.image,
        "Cmd": list(program.argv) or None,
        "Env": [f"{name}={value}" for name, value in program.environment.items()],
        "Tty": True,
        "AttachStdin": False, "AttachStdout": True, "AttachStderr": True, "OpenStdin": False, "StdinOnce": False,
        "Labels": dict(labels),
        "HostConfig": {
            **_isolation(outfit, network, docker),
            **_limits(outfit, docker, limits),
            "CgroupParent": cgroup_parent,
            "Binds": [_bind(each) for each in outfit.binds],
            "Devices": [
                {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"} for path in outfit.devices
            ],
            "ExtraHosts": [_LOCAL_NAME, *(f"{name}:{address}" for name, address in outfit.hosts.items())],
            "LogConfig": {"Type": "none", "Config": {}},
            "RestartPolicy": {"Name": "no"},
        },
    }  # fmt: skip
    if outfit.entrypoint is not None:
        config["Entrypoint"] = list(outfit.entrypoint)
    return config


def _isolation(outfit: Outfit, network: Network, docker: DockerSettings) -> dict[str, Any]:
    return {
        "NetworkMode": network.name,
        "Privileged": outfit.privileged,
        "Runtime": docker.privileged_runtime if outfit.privileged else "",
        "CapAdd": list(outfit.capabilities),
        "CapDrop": [] if outfit.privileged else list(_DROPPED),
        "SecurityOpt": [*(() if outfit.privileged else ("no-new-privileges",)), *outfit.security],
    }


def _limits(outfit: Outfit, docker: DockerSettings, limits: ExecutorSettings) -> dict[str, Any]:
    return {
        "ShmSize": docker.shm_size_bytes,
        "Memory": limits.memory_limit_bytes,
        "MemorySwap": limits.memory_limit_bytes,
        "PidsLimit": most_processes(limits.pids_limit),
        "NanoCpus": round(docker.cpus * 1e9),
        "CpusetCpus": outfit.processors,
        "OomScoreAdj": 500,
    }


def _bind(bind: Bind) -> str:
    return f"{bind.source}:{bind.target}{':ro' if bind.read_only else ''}"
