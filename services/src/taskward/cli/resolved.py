"""The resolved configuration: the file that every process reads, with all paths and addresses written out.

It holds no secret and is readable for all; whoever wants to know what a setting became looks here.
"""

import errno
import os
import socket
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from taskward.cli import trust
from taskward.cli.accounts import user_of
from taskward.cli.secret import secrets
from taskward.cli.toml import document
from taskward.core.errors import ConfigurationError
from taskward.core.settings import Settings

GATEWAY_PORT: Final = 60023
PROXY_PORT: Final = 60024

_CAMEL: Final = {
    "public_ip_address": "publicIpAddress",
    "private_ip_address": "privateIpAddress",
    "instance_id": "instanceId",
    "instance_type": "instanceType",
    "region": "region",
}


def path_of(settings: Settings) -> Path:
    """Where the resolved configuration lies."""
    return settings.layout.state_dir / "run/taskward.toml"


def sections(settings: Settings) -> dict[str, dict[str, Any]]:
    """Every section with every value: the defaults, then what the operator's file says."""
    taskcluster = {**asdict(settings.taskcluster), **{each.key: each.copy for each in secrets(settings)}}
    return {
        "taskcluster": taskcluster,
        **{
            name: asdict(getattr(settings, name))
            for name in ("worker", "claimer", "executor", "docker", "images", "uploader", "environment")
        },
        "gateway": _gateway(settings) | _given(settings, "gateway"),
        "proxy": _proxy(settings) | _given(settings, "proxy"),
        "signer": _signer(settings) | _given(settings, "signer"),
        "keyholder": _keyholder(settings) | _given(settings, "keyholder"),
        "decrypter": _decrypter(settings) | _given(settings, "decrypter"),
    }


def text(settings: Settings) -> str:
    """The file's text."""
    return document(sections(settings))


def check(settings: Settings) -> None:
    """Lets each process's own reader look at the resolved configuration, and `trust` at the file of certificates;
    writes nothing that stays.

    Raises:
        ConfigurationError: one of them cannot use it; the text names what it was read from, section and key.
    """
    found = sections(settings)
    for name in ("signer", "keyholder", "decrypter"):
        if "allowed_users" not in _given(settings, name):
            found[name].pop("allowed_users", None)  # ours, which the first start makes
    with tempfile.TemporaryDirectory(prefix="taskward-") as place:
        draft = Path(place) / "taskward.toml"
        try:
            draft.write_text(document(found))
            _read(draft)
        except TypeError as error:
            raise ConfigurationError(f"{settings.where}: {error}; write it as a string") from error
        except ConfigurationError as error:
            raise ConfigurationError(str(error).replace(str(draft), settings.where)) from error
    port = found["gateway"]["port"]
    if port and port in (found["proxy"]["port"], found["proxy"]["container_port"]):
        raise ConfigurationError(f"{settings.where}: [gateway] port: {port} is [proxy] port, too; choose another one")
    trust.check(settings)


def _read(path: Path) -> None:
    from taskward.gateway.settings import Settings as GatewaySettings
    from taskward.proxy.errors import StartError
    from taskward.proxy.settings import load as load_proxy
    from taskward.signer.decrypter.settings import DecrypterSettings
    from taskward.signer.errors import SettingsError
    from taskward.signer.keyholder.settings import KeyholderSettings
    from taskward.signer.settings import SignerSettings

    GatewaySettings.load(path)
    try:
        load_proxy(path)
        SignerSettings.read(path)
        KeyholderSettings.read(path)
        DecrypterSettings.read(path)
    except (StartError, SettingsError) as error:
        raise ConfigurationError(str(error)) from error


def refuse_taken_ports(settings: Settings, running: Collection[str] = ()) -> None:
    """Where the worker is about to listen, nobody else does; of the roles that are `running`, nothing is asked.

    Raises:
        ConfigurationError: somebody does, or nobody can; the text names section and port.
    """
    if taken := list(_taken_ports(sections(settings), running)):
        raise ConfigurationError(f"{settings.where}: {'; '.join(taken)}; choose another one")


def _taken_ports(resolved: Mapping[str, Any], running: Collection[str]) -> Iterator[str]:
    for name, host in (("gateway", resolved["gateway"]["host"]), ("proxy", "127.0.0.1")):
        if name in running:
            continue
        port = resolved[name]["port"]
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                taken = error.errno == errno.EADDRINUSE
                yield f"[{name}] port {port}: {'another program uses that port' if taken else error.strerror}"


def _given(settings: Settings, name: str) -> dict[str, Any]:
    """What the operator's file says in a section that another package reads."""
    table: Any = settings.others.get(name, {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"[{name}]: must be a table")
    return table


def _queue(settings: Settings, role: str) -> dict[str, Any]:
    """How a role reaches Redis, and where it shows how it is doing."""
    address = settings.redis(role)
    return {
        "redis_socket": address.socket,
        "redis_user": address.user,
        "redis_password_file": address.password_file,
        "status_socket": settings.layout.state_dir / f"run/status/{role}.sock",
    }


def _gateway(settings: Settings) -> dict[str, Any]:
    given = _given(settings, "gateway")
    host, port = given.get("host", "127.0.0.1"), given.get("port", GATEWAY_PORT)
    url = f"http://[{host}]:{port}" if ":" in str(host) else f"http://{host}:{port}"
    return {
        "host": host,
        "port": port,
        "public_url": url,
        "logs_dir": settings.layout.logs,
        **_queue(settings, "gateway"),
    }


def _proxy(settings: Settings) -> dict[str, Any]:
    port = _given(settings, "proxy").get("port", PROXY_PORT)
    return {"port": port, "container_port": _container_port(settings, port), **_queue(settings, "proxy")}


def _container_port(settings: Settings, port: int) -> int | None:
    """The same, on all devices, where there are containers; where there are none, nothing is opened for them."""
    daemon = Path(settings.docker.host.removeprefix("unix://"))
    return port if settings.docker.enabled and os.geteuid() == 0 and daemon.is_socket() else None


def _signer(settings: Settings) -> dict[str, Any]:
    layout = settings.layout
    known = asdict(settings.environment)
    door = {
        "socket": layout.signer_socket,
        "socket_mode": _socket_mode(),
        "allowed_users": [user_of("uploader")],
    }
    return {
        **({} if "listen" in _given(settings, "signer") else door),
        "state_dir": layout.state_dir / "signer",
        "keyholder_socket": layout.keyholder_socket,
        "public_keys_dir": layout.state_dir / "public-keys",
        "environment": {_CAMEL[name]: value for name, value in known.items() if value},
    }


def _keyholder(settings: Settings) -> dict[str, Any]:
    state_dir = settings.layout.state_dir
    return {
        "socket": settings.layout.keyholder_socket,
        "socket_mode": _socket_mode(),
        "keys_dir": state_dir / "keys",
        "public_keys_dir": state_dir / "public-keys",
        "allowed_users": [user_of("signer")],
    }


def _decrypter(settings: Settings) -> dict[str, Any]:
    layout = settings.layout
    return {
        "socket": layout.decrypter_socket,
        "socket_mode": _socket_mode(),
        "keys_dir": layout.state_dir / "decrypter",
        "public_keys_dir": layout.encryption_key.parent,
        "allowed_users": [user_of("executor")],
    }


def _socket_mode() -> str:
    """The directory gives the socket its group; an ordinary user needs none."""
    return "0660" if os.geteuid() == 0 else "0600"
