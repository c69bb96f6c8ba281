"""What the signer is told at its start."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskward.signer.deployment import Deployment
from taskward.signer.door import SocketDoor, TlsDoor
from taskward.signer.errors import SettingsError
from taskward.signer.sections import Section

_KEYS: Final = (
    *SocketDoor.KEYS,
    *TlsDoor.KEYS,
    *Deployment.KEYS,
    "state_dir",
    "keyholder_socket",
    "public_keys_dir",
    "rate_per_minute",
    "verify_artifacts",
    "artifact_hosts",
    "environment",
)
_ENVIRONMENT: Final = ("publicIpAddress", "privateIpAddress", "instanceId", "instanceType", "region")


@dataclass(frozen=True)
class SignerSettings:
    """The ``[signer]`` section, and what the signer needs of ``[taskcluster]`` and ``[worker]``::

    [signer]
    socket = "/run/taskward/signer.sock"
    socket_mode = "0660"                # optional
    socket_group = "tw-uploader"        # optional
    state_dir = "/var/lib/taskward/signer"
    keyholder_socket = "/run/taskward/keyholder.sock"
    public_keys_dir = "/var/lib/taskward/public-keys"
    listen = "0.0.0.0:60025"            # instead of socket, for callers on other hosts: mutual TLS with
    certificate_file = "/etc/…"         # our certificate,
    key_file = "/etc/…"                 # its key,
    client_ca_file = "/etc/…"           # the authority of the callers' certificates, and
    allowed_clients = ["w1.example"]    # the DNS names that these may have; an empty list refuses everybody
    allowed_users = ["tw-uploader"]     # names or uids; an empty list refuses everybody
    rate_per_minute = 600               # optional
    verify_artifacts = "never"          # optional; "always" downloads and hashes every artifact
    artifact_hosts = []                 # optional; where artifacts may lie, beside the root URL's host
    client_id = "project/x/signer"      # optional; for clusters without anonymous reading
    access_token_file = "/etc/..."      # with client_id
    environment = { region = "dc1" }    # optional; publicIpAddress, privateIpAddress, instanceId,
                                        # instanceType, region
    """

    door: SocketDoor | TlsDoor
    deployment: Deployment
    state_dir: Path
    keyholder_socket: Path
    public_keys_dir: Path
    rate_per_minute: int
    verifies_artifacts: bool
    artifact_hosts: frozenset[str]
    environment: Mapping[str, str]

    @classmethod
    def read(cls, file: Path) -> "SignerSettings":
        """Raises `SettingsError` with the key at fault."""
        section = Section(file, "signer", _KEYS)
        return cls(
            door=_door(section),
            deployment=Deployment.read(file, section),
            state_dir=section.path("state_dir"),
            keyholder_socket=section.path("keyholder_socket"),
            public_keys_dir=section.path("public_keys_dir"),
            rate_per_minute=section.integer("rate_per_minute", 600),
            verifies_artifacts=section.choice("verify_artifacts", ("never", "always"), "never") == "always",
            artifact_hosts=frozenset(section.texts("artifact_hosts")),
            environment=_environment(section),
        )


def _door(section: Section) -> SocketDoor | TlsDoor:
    if section.has("socket") and section.has("listen"):
        raise SettingsError(f"{section.where} has both socket and listen; the signer has one door: remove one of them")
    return TlsDoor.read(section) if section.has("listen") else SocketDoor.read(section)


def _environment(section: Section) -> dict[str, str]:
    given = section.table("environment", _ENVIRONMENT)
    return {name: given[name] for name in _ENVIRONMENT if name in given}  # the order of the documents
