"""Containers as a task may have them: written anew, each field from what is allowed in it, confined as the task is."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from taskward.executor.docker.dind.errors import WRONG, Refusal, forbidden
from taskward.executor.docker.dind.fields import Fields

OWN_LABELS: Final = "taskward."
_HOST_NAME: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})"
_PATH: Final = r"/[^\0:]*"
_PORT: Final = r"[0-9]{1,5}(-[0-9]{1,5})?(/(tcp|udp|sctp))?"
_CAPABILITY: Final = r"[A-Z_]{2,32}"
_PROCESSORS: Final = r"[0-9,-]{1,200}"
_DROPPED: Final = ("NET_RAW",)  # with raw sockets a container could forge where its packets come from
_SECURITY: Final = ("no-new-privileges",)
_LOG: Final = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}
_OOM_SCORE_ADJ: Final = 500
_TMPFS: Final = r"((rw|ro|exec|noexec|nosuid|nodev|size=[0-9]{1,15}[kmgKMG]?|mode=[0-7]{1,4}|[ug]id=[0-9]{1,9})(,|$))*"
_BIND_OPTIONS: Final = frozenset({"ro", "rw", "nocopy", "z", "Z", ""})
_USUAL_NETWORKS: Final = ("", "default", "bridge")
_NONE: Final = "none"
_CONTAINER: Final = "container:"


@dataclass(frozen=True)
class Confinement:
    """What holds for every container of one run, whatever it asks for.

    Attributes:
        labels: who owns it.
        name_prefix: of its name at the daemon.
        network: the run's own.
        cgroup_parent: the run's control group, which limits all of its containers together; empty where it cannot.
        memory_bytes: the most that one may have; 0 is no limit.
        processes: likewise.
        cpus: likewise.
        processors: those that it may use; empty for all.
        shm_size_bytes: of ``/dev/shm``.
        hosts: name → address.
    """

    labels: Mapping[str, str]
    name_prefix: str
    network: str
    cgroup_parent: str = ""
    memory_bytes: int = 0
    processes: int = 0
    cpus: float = 0.0
    processors: str = ""
    shm_size_bytes: int = 64 << 20
    hosts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Own:
    """How names of the task become ids of what this run has; each raises `Refusal` for anything else."""

    image: Callable[[str], str]
    container: Callable[[str], str]
    network_container: Callable[[str], str]
    volume: Callable[[str], str]


@dataclass(frozen=True)
class Wanted:
    """What a task asks for: `config` is for the daemon, `image` and `network` are as the task wrote them."""

    config: dict[str, Any]
    image: str
    network: str


def container_config(text: bytes, run: Confinement, own: Own) -> Wanted:
    """From the body of ``POST /containers/create``.

    Raises:
        Refusal: it asks for something that no task has.
    """
    fields = Fields.read(text)
    host = fields.fields("HostConfig")
    image = fields.text("Image")
    network = host.text("NetworkMode")
    _refuse_networks(fields.fields("NetworkingConfig"))
    config = {**program(fields), "Image": own.image(image), "HostConfig": _host_config(host, network, run, own)}
    config["Labels"] = {**labels(fields), **run.labels}
    binds, mounts = list(map(_bind, host.texts("Binds"))), list(map(_mount, host.list("Mounts")))
    fields.drop("ArgsEscaped")
    fields.close()
    host.close()
    config["HostConfig"]["Binds"] = [f"{own.volume(source)}:{rest}" for source, rest in binds]
    config["HostConfig"]["Mounts"] = [
        {**each, "Source": own.volume(each["Source"])} if each.get("Source") else each for each in mounts
    ]
    return Wanted(config, image, network or "default")


def program(fields: Fields) -> dict[str, Any]:
    """What runs in a container, and as whom; the same for a container and for what an image says of its own."""
    config: dict[str, Any] = {
        name: fields.flag(name)
        for name in ("AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce", "NetworkDisabled")
    }
    config |= {name: fields.text(name) for name in ("User", "WorkingDir")}
    config |= {
        "Hostname": fields.text("Hostname", _HOST_NAME),
        "Domainname": fields.text("Domainname", _HOST_NAME),
        "StopSignal": fields.text("StopSignal", r"[A-Z0-9+-]{1,20}"),
        "Env": fields.texts("Env"),
        "Cmd": fields.maybe_texts("Cmd"),
        "Entrypoint": fields.maybe_texts("Entrypoint"),
        "Shell": fields.maybe_texts("Shell"),
        "OnBuild": fields.maybe_texts("OnBuild"),
        "Volumes": {place: {} for place in fields.names("Volumes", _PATH)},
        "ExposedPorts": {port: {} for port in fields.names("ExposedPorts", _PORT)},
    }
    if timeout_s := fields.number("StopTimeout", least=-1):
        config["StopTimeout"] = timeout_s
    if health := _health(fields.fields("Healthcheck")):
        config["Healthcheck"] = health
    return config


def labels(fields: Fields) -> dict[str, str]:
    """Those of a task; ours it neither sets nor changes."""
    found = fields.table("Labels")
    return {name: value for name, value in found.items() if not name.lower().startswith(OWN_LABELS)}


def _health(fields: Fields) -> dict[str, Any]:
    test = fields.texts("Test")
    times = {name: fields.number(name) for name in ("Interval", "Timeout", "StartPeriod", "Retries")}
    fields.close()
    return {"Test": test, **times} if test or any(times.values()) else {}


def _host_config(host: Fields, network: str, run: Confinement, own: Own) -> dict[str, Any]:
    host.drop("LogConfig", "MemorySwap", "MemorySwappiness", "MemoryReservation", "PidsLimit", "ConsoleSize",
              "ContainerIDFile")  # fmt: skip
    _refuse_restarts(host.fields("RestartPolicy"))
    host.texts("SecurityOpt", r"no-new-privileges([:=]true)?")
    host.text("CgroupnsMode", "private|")
    host.text("Isolation", "default|")
    host.text("IpcMode", "private|shareable|")
    return {
        **_limits(host, run),
        "NetworkMode": _network_mode(network, run, own),
        "CgroupParent": run.cgroup_parent,
        "CapDrop": sorted({*(each.removeprefix("CAP_") for each in host.texts("CapDrop", _CAPABILITY)), *_DROPPED}),
        "SecurityOpt": list(_SECURITY),
        "LogConfig": _LOG,
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": host.flag("AutoRemove"),
        "Init": host.flag("Init"),
        "ReadonlyRootfs": host.flag("ReadonlyRootfs"),
        "GroupAdd": host.texts("GroupAdd", r"[A-Za-z0-9_.-]{1,32}"),
        "ExtraHosts": [*_hosts(host), *(f"{name}:{address}" for name, address in run.hosts.items())],
        "Tmpfs": host.table("Tmpfs", _PATH, _TMPFS),
        "VolumesFrom": [_volumes_from(each, own) for each in host.texts("VolumesFrom")],
    }


def _limits(host: Fields, run: Confinement) -> dict[str, Any]:
    memory_bytes = _least(host.number("Memory"), run.memory_bytes)
    shm_bytes = _least(host.number("ShmSize"), run.shm_size_bytes)
    processors = host.text("CpusetCpus", _PROCESSORS)
    return {
        "Memory": memory_bytes,
        "MemorySwap": memory_bytes,
        "NanoCpus": _least(host.number("NanoCpus"), round(run.cpus * 1e9)),
        "CpuShares": min(host.number("CpuShares"), 1024),
        "CpusetCpus": run.processors or processors,
        "PidsLimit": run.processes or None,
        "ShmSize": shm_bytes,
        "OomScoreAdj": _OOM_SCORE_ADJ,
    }


def _least(wanted: int, most: int) -> int:
    """0 is no limit."""
    return min(filter(None, (wanted, most)), default=0)


def _network_mode(wanted: str, run: Confinement, own: Own) -> str:
    if wanted in _USUAL_NETWORKS:
        return run.network
    if wanted == _NONE:
        return _NONE
    if wanted.startswith(_CONTAINER):
        return _CONTAINER + own.network_container(wanted.removeprefix(_CONTAINER))
    raise forbidden(f"HostConfig.NetworkMode: {wanted[:100]!r}; there are bridge, none, and container:<yours>")


def _refuse_networks(fields: Fields) -> None:
    """Newer clients name the usual network here, and say nothing of it."""
    ends = fields.fields("EndpointsConfig")
    for name in filter(None, _USUAL_NETWORKS):
        end = ends.fields(name)
        end.drop("NetworkID", "EndpointID")
        end.close()
    ends.close()
    fields.close()


def _refuse_restarts(fields: Fields) -> None:
    fields.text("Name", "no")
    fields.drop("MaximumRetryCount")
    fields.close()


def _hosts(host: Fields) -> list[str]:
    """Lines of ``/etc/hosts``; a name of the daemon's (``host-gateway``) is no address."""
    found = host.texts("ExtraHosts", rf"{_HOST_NAME}[:=][0-9a-fA-F.:\[\]]+")
    for each in found:
        address = each.replace("=", ":", 1).partition(":")[2].strip("[]")
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise Refusal(WRONG, f"HostConfig.ExtraHosts: {address!r} is no address") from error
    return [each.replace("=", ":", 1) for each in found]


def _bind(text: str) -> tuple[str, str]:
    """A volume's name, and where it is seen; directories of the host are none of the task's."""
    source, _, rest = text.partition(":")
    target, _, options = rest.partition(":")
    if not source or source.startswith(("/", ".", "~")):
        raise forbidden(
            f"HostConfig.Binds: {text[:200]!r}: files of the host cannot be bound; use a volume, or docker cp"
        )
    if not target.startswith("/") or not set(options.split(",")) <= _BIND_OPTIONS:
        raise forbidden(f"HostConfig.Binds: {text[:200]!r} is not allowed")
    kept = ",".join(each for each in options.split(",") if each in ("ro", "rw", "nocopy"))
    return source, f"{target}:{kept}" if kept else target


def _mount(fields: Fields) -> dict[str, Any]:
    kind, target = fields.text("Type", "volume|tmpfs"), fields.text("Target", _PATH)
    mount: dict[str, Any] = {"Type": kind, "Target": target, "ReadOnly": fields.flag("ReadOnly")}
    source, size = fields.text("Source"), fields.fields("TmpfsOptions")
    fields.text("Consistency", "default|consistent|cached|delegated|")
    if not kind or not target:
        raise Refusal(WRONG, "HostConfig.Mounts: Type and Target are needed; Type is volume or tmpfs")
    if kind == "volume":
        mount["Source"] = source
        options = fields.fields("VolumeOptions")
        mount["VolumeOptions"] = {"NoCopy": options.flag("NoCopy")}
        options.close()
    else:
        mount["TmpfsOptions"] = {"SizeBytes": size.number("SizeBytes"), "Mode": size.number("Mode") & 0o1777}
        if source:
            raise Refusal(WRONG, "HostConfig.Mounts: tmpfs has no Source")
    size.close()
    fields.close()
    return mount


def _volumes_from(text: str, own: Own) -> str:
    name, _, options = text.partition(":")
    if options not in ("", "ro", "rw"):
        raise forbidden(f"HostConfig.VolumesFrom: {text[:200]!r} is not allowed")
    return own.container(name) + (f":{options}" if options else "")
