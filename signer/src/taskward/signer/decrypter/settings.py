"""What the decrypter is told at its start."""

from dataclasses import dataclass
from pathlib import Path

from taskward.signer.sections import Section
from taskward.signer.settings import credentials, root_url

_KEYS = (
    "socket",
    "socket_mode",
    "socket_group",
    "keys_dir",
    "public_keys_dir",
    "allowed_users",
    "openpgp_algorithm",
    "openpgp_expires_days",
    "client_id",
    "access_token_file",
)


@dataclass(frozen=True)
class DecrypterSettings:
    """The ``[decrypter]`` section, explained in the package's docstring, and whose runs this worker's are."""

    root_url: str
    task_queue_id: str
    worker_group: str
    worker_id: str
    socket: Path
    socket_mode: int
    socket_gid: int | None
    keys_dir: Path
    public_keys_dir: Path
    allowed_uids: frozenset[int]
    openpgp_algorithm: str
    openpgp_expires_days: int
    credentials: tuple[str, str] | None

    @classmethod
    def read(cls, file: Path) -> "DecrypterSettings":
        """Raises `SettingsError` with the key at fault."""
        section = Section(file, "decrypter", _KEYS)
        worker = Section(file, "worker", None)
        return cls(
            root_url=root_url(Section(file, "taskcluster", None)),
            task_queue_id=worker.text("task_queue_id"),
            worker_group=worker.text("worker_group"),
            worker_id=worker.text("worker_id"),
            socket=section.path("socket"),
            socket_mode=section.mode("socket_mode", "0660"),
            socket_gid=section.gid("socket_group"),
            keys_dir=section.path("keys_dir"),
            public_keys_dir=section.path("public_keys_dir"),
            allowed_uids=section.users("allowed_users"),
            openpgp_algorithm=section.choice("openpgp_algorithm", ("cv25519", "rsa2048", "rsa4096"), default="cv25519"),
            openpgp_expires_days=section.integer("openpgp_expires_days", 730),
            credentials=credentials(section),
        )
