"""The directory of one desktop: what its servers read, written by root, and the socket that they make."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from taskward.executor.rdp.certificate import Certificate
from taskward.executor.rdp.credentials import authority_file, password_file

_CONFIGURATION: Final = """\
[Globals]
ini_version=1
fork=true
port=unix://.{socket}
security_layer=tls
certificate={certificate}
key_file={key}
ssl_protocols=TLSv1.2, TLSv1.3
autorun=desktop
allow_channels=true
max_bpp=32
ls_title={title}

[Logging]
LogFile=/dev/null
LogLevel=ERROR
EnableSyslog=false

[Channels]
cliprdr={clipboard}
drdynvc=true
rail=false
rdpdr=false
rdpsnd=false
tcutils=false
xrdpvr=false

[desktop]
name={title}
lib=libvnc.so
username=ask
password=ask
ip=127.0.0.1
port={vnc_port}
"""


@dataclass(frozen=True)
class Site:
    """Its files belong to root and can be read by one group, the task's, which may add files and take none away."""

    path: Path

    @classmethod
    def make(
        cls, path: Path, gid: int, password: str, certificate: Certificate, vnc_port: int, title: str,
        *, clipboard: bool,
    ) -> Self:  # fmt: skip
        """Everything in it; `clipboard` lets the task and the person's machine read and write each other's.

        Raises:
            OSError: it cannot be made.
        """
        site = cls(path)
        path.mkdir(mode=0o700, parents=True)
        if path.parent.stat().st_mode & 0o777 != 0o711:
            path.parent.chmod(0o711)
        contents = {
            site.certificate: certificate.certificate_pem,
            site.key: certificate.key_pem,
            site.password: password_file(password),
            site.authority: authority_file(),
            site.configuration: _CONFIGURATION.format(
                socket=site.socket,
                certificate=site.certificate,
                key=site.key,
                vnc_port=vnc_port,
                title=title,
                clipboard=str(clipboard).lower(),
            ).encode(),
        }
        for file, content in contents.items():
            _write(file, content, gid)
        os.chown(path, os.geteuid(), gid)
        path.chmod(0o1770)
        return site

    @property
    def configuration(self) -> Path:
        """Of xrdp."""
        return self.path / "xrdp.ini"

    @property
    def certificate(self) -> Path:
        """Of xrdp."""
        return self.path / "certificate.pem"

    @property
    def key(self) -> Path:
        """Of that certificate."""
        return self.path / "key.pem"

    @property
    def password(self) -> Path:
        """Of Xvnc."""
        return self.path / "password"

    @property
    def authority(self) -> Path:
        """What clients of the X server show to it."""
        return self.path / "Xauthority"

    @property
    def socket(self) -> Path:
        """Where xrdp listens; a short name, since an address of a socket may not be long."""
        return self.path / "s"


def _write(path: Path, content: bytes, gid: int) -> None:
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb"
    ) as file:
        file.write(content)
        os.fchown(file.fileno(), os.geteuid(), gid)
        os.fchmod(file.fileno(), 0o640)
