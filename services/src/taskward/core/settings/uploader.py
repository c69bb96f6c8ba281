"""The uploaders."""

import re
from dataclasses import dataclass
from pathlib import Path

from taskward.core.errors import ConfigurationError


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

    def __post_init__(self) -> None:
        for name in ("processes", "concurrency"):
            if not 1 <= getattr(self, name) <= 64:
                raise ConfigurationError(f"{name}: must be 1 to 64")
        if self.storage not in ("s3", "object"):
            raise ConfigurationError("storage: must be 's3' or 'object'")
        if self.signer_url:
            self._check_signer()

    def _check_signer(self) -> None:
        if not re.fullmatch(r"https://[^/:@\s]+:\d{1,5}/?", self.signer_url):
            raise ConfigurationError(f"signer_url: must be https://host:port, not {self.signer_url!r}")
        for name in ("signer_ca_file", "signer_certificate_file", "signer_key_file"):
            if getattr(self, name) is None:
                raise ConfigurationError(f"{name} is missing; signer_url needs it")
