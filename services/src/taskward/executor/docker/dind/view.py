"""What the daemon tells of things, as a task sees them: by its own names, and without what is the host's."""

from collections.abc import Mapping
from typing import Any, Final

from taskward.executor.docker.dind.config import OWN_LABELS
from taskward.executor.docker.dind.holdings import Container, Holdings

_OF_CONTAINER: Final = ("Id", "Created", "Path", "Args", "Image", "RestartCount", "Driver", "Platform", "ExecIDs",
                        "SizeRw", "SizeRootFs")  # fmt: skip
_OF_HOST_CONFIG: Final = ("AutoRemove", "Memory", "NanoCpus", "CpuShares", "PidsLimit", "ReadonlyRootfs", "CapDrop",
                          "SecurityOpt", "RestartPolicy", "Init", "ShmSize", "LogConfig", "Tmpfs")  # fmt: skip
_OF_STATE: Final = ("Status", "Running", "Paused", "Restarting", "OOMKilled", "Dead", "ExitCode", "Error", "StartedAt",
                    "FinishedAt", "Health")  # fmt: skip
_OF_IMAGE: Final = ("Id", "Comment", "Created", "ContainerConfig", "DockerVersion", "Author", "Config", "Architecture",
                    "Variant", "Os", "Size", "VirtualSize", "RootFS", "Metadata")  # fmt: skip
_OF_EXECUTION: Final = ("ID", "Running", "ExitCode", "ProcessConfig", "OpenStdin", "OpenStderr", "OpenStdout",
                        "CanRemove", "ContainerID", "DetachKeys")  # fmt: skip
_OF_NETWORK: Final = ("Gateway", "IPAddress", "IPPrefixLen", "MacAddress")


def container(told: Mapping[str, Any], own: Container, holdings: Holdings) -> dict[str, Any]:
    """Of ``GET /containers/<id>/json``."""
    config = _config(told.get("Config"))
    networks = told.get("NetworkSettings", {}).get("Networks") or {}
    network: Mapping[str, Any] = next(iter(networks.values()), {})
    address = {name: network.get(name) for name in _OF_NETWORK}
    return {
        **_only(told, _OF_CONTAINER),
        "Name": f"/{own.name}",
        "State": {**_only(told.get("State", {}), _OF_STATE), "Pid": 0},
        "Config": {**config, "Image": own.image},
        "HostConfig": {**_only(told.get("HostConfig", {}), _OF_HOST_CONFIG), "NetworkMode": own.network},
        "Mounts": [_mount(each, holdings) for each in told.get("Mounts") or ()],
        "NetworkSettings": {**address, "Ports": {}, "Networks": {"bridge": address} if networks else {}},
    }


def listed_container(told: Mapping[str, Any], own: Container) -> dict[str, Any]:
    """One of ``GET /containers/json``."""
    kept = _only(told, ("Id", "Command", "Created", "State", "Status", "ImageID", "SizeRw", "SizeRootFs"))
    return {
        **kept, "Names": [f"/{own.name}"], "Image": own.image, "Labels": labels(told.get("Labels")), "Ports": [],
        "HostConfig": {"NetworkMode": own.network}, "Mounts": [], "NetworkSettings": {"Networks": {}},
    }  # fmt: skip


def execution(told: Mapping[str, Any]) -> dict[str, Any]:
    """Of ``GET /exec/<id>/json``."""
    return {**_only(told, _OF_EXECUTION), "Pid": 0}


def image(told: Mapping[str, Any], holdings: Holdings) -> dict[str, Any]:
    """Of ``GET /images/<name>/json``."""
    names = holdings.names_of(told["Id"])
    return {
        **_only(told, _OF_IMAGE),
        "Config": _config(told.get("Config")), "ContainerConfig": _config(told.get("ContainerConfig")), "Parent": "",
        "RepoTags": [name for name in names if "@" not in name], "RepoDigests": [name for name in names if "@" in name],
    }  # fmt: skip


def listed_image(told: Mapping[str, Any], created_s: int, holdings: Holdings) -> dict[str, Any]:
    """One of ``GET /images/json``, from what is told of the image alone."""
    seen = image(told, holdings)
    return {
        "Id": seen["Id"], "ParentId": "", "RepoTags": seen["RepoTags"] or ["<none>:<none>"],
        "RepoDigests": seen["RepoDigests"] or ["<none>@<none>"], "Created": created_s, "Size": seen.get("Size", 0),
        "VirtualSize": seen.get("Size", 0), "SharedSize": -1, "Containers": -1,
        "Labels": seen["Config"].get("Labels") or {},
    }  # fmt: skip


def volume(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Of ``GET /volumes/<name>``; where it lies is the host's business."""
    kept = _only(told, ("CreatedAt", "Driver", "Scope"))
    return {**kept, "Name": name, "Mountpoint": "", "Labels": labels(told.get("Labels")), "Options": {}}


def labels(told: Mapping[str, str] | None) -> dict[str, str]:
    """Without ours."""
    return {name: value for name, value in (told or {}).items() if not name.startswith(OWN_LABELS)}


def _config(told: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**(told or {}), "Labels": labels((told or {}).get("Labels"))}


def _mount(told: Mapping[str, Any], holdings: Holdings) -> dict[str, Any]:
    names = {own: name for name, own in holdings.volumes().items()}
    kept = _only(told, ("Type", "Destination", "Driver", "Mode", "RW", "Propagation"))
    return {**kept, "Name": names.get(told.get("Name", ""), ""), "Source": ""}


def _only(told: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: told[name] for name in names if name in told}
