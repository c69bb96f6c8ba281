"""What the signer is told at its start."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from taskward.signer.door import TlsDoor
from taskward.signer.sections import Section, SettingsError

_KEYS = (
    "socket",
    "socket_mode",
    "socket_group",
    "listen",
    "certificate_file",
    "key_file",
    "client_ca_file",
    "allowed_clients",
    "state_dir",
    "keyholder_socket",
    "public_keys_dir",
    "allowed_users",
    "rate_per_minute",
    "verify_artifacts",
    "artifact_hosts",
    "client_id",
    "access_token_file",
    "environment",
)
_ENVIRONMENT = ("publicIpAddress", "privateIpAddress", "instanceId", "instanceType", "region")


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

    root_url: str
    task_queue_id: str
    worker_group: str
    worker_id: str
    socket: Path | None
    tls: TlsDoor | None
    socket_mode: int
    socket_gid: int | None
    state_dir: Path
    keyholder_socket: Path
    public_keys_dir: Path
    allowed_uids: frozenset[int]
    allowed_clients: frozenset[str]
    rate_per_minute: int
    verifies_artifacts: bool
    artifact_hosts: frozenset[str]
    credentials: tuple[str, str] | None
    """Client id and access token for reading the queue; None reads anonymously."""
    environment: Mapping[str, str]

    @classmethod
    def read(cls, file: Path) -> "SignerSettings":
        """Raises `SettingsError` with the key at fault."""
        section = Section(file, "signer", _KEYS)
        worker = Section(file, "worker", None)
        return cls(
            root_url=root_url(Section(file, "taskcluster", None)),
            task_queue_id=worker.text("task_queue_id"),
            worker_group=worker.text("worker_group"),
            worker_id=worker.text("worker_id"),
            socket=_socket(section),
            tls=TlsDoor.read(section),
            socket_mode=section.mode("socket_mode", "0660"),
            socket_gid=section.gid("socket_group"),
            state_dir=section.path("state_dir"),
            keyholder_socket=section.path("keyholder_socket"),
            public_keys_dir=section.path("public_keys_dir"),
            allowed_uids=section.users("allowed_users"),
            allowed_clients=frozenset(section.texts("allowed_clients")),
            rate_per_minute=section.integer("rate_per_minute", 600),
            verifies_artifacts=section.choice("verify_artifacts", ("never", "always"), "never") == "always",
            artifact_hosts=frozenset(section.texts("artifact_hosts")),
            credentials=credentials(section),
            environment=_environment(section),
        )


def _socket(section: Section) -> Path | None:
    if section.has("socket") and section.has("listen"):
        raise SettingsError(f"{section.where} has both socket and listen; the signer has one door: remove one of them")
    return None if section.has("listen") else section.path("socket")


def _environment(section: Section) -> dict[str, str]:
    given = section.table("environment", _ENVIRONMENT)
    return {name: given[name] for name in _ENVIRONMENT if name in given}  # the order of the documents


def root_url(section: Section) -> str:
    """The deployment's address; raises `SettingsError` unless it is one."""
    url = section.text("root_url").rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise SettingsError(f"root_url in {section.where} has to be an http or https URL, not {url!r}")
    return url


def credentials(section: Section) -> tuple[str, str] | None:
    """Client id and access token for reading the queue, or None; raises `SettingsError`."""
    if section.has("client_id") != section.has("access_token_file"):
        raise SettingsError(f"client_id and access_token_file in {section.where} go together; one is missing")
    if not section.has("client_id"):
        return None
    file = section.path("access_token_file")
    try:
        return section.text("client_id"), file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"cannot read access_token_file {file}: {error.strerror}") from error
