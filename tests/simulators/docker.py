"""A Docker daemon for tests: the machine's own, and a small image made of busybox alone.

Without a daemon these tests are skipped, and say why; in continuous integration (``CI``) they fail instead.
"""

import contextlib
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import docker.errors
import pytest
from docker.api.client import APIClient
from requests.exceptions import RequestException

SOCKET: Final = "unix:///var/run/docker.sock"
REPOSITORY: Final = "taskward-test/busybox"
_TIMEOUT_S: Final = 60
_APPLETS: Final = (
    "sh", "ash", "awk", "base64", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "du", "echo", "env",
    "false", "find", "free", "grep", "head", "hostname", "id", "ip", "kill", "ln", "ls", "md5sum", "mkdir", "mkfifo",
    "mknod", "mount", "mv", "nc", "nohup", "nproc", "ping", "printenv", "printf", "ps", "pwd", "readlink", "rm",
    "rmdir", "sed", "seq", "setsid", "sha256sum", "sleep", "sort", "stat", "stty", "su", "sync", "tail", "tar", "tee",
    "telnet", "test", "timeout", "touch", "tr", "true", "truncate", "tty", "umount", "uname", "uniq", "wc", "wget",
    "which", "whoami", "xargs", "yes",
)  # fmt: skip


@pytest.fixture(scope="session")
def daemon() -> Iterator[APIClient]:
    """A client of the daemon."""
    with connect() as client:
        _remove_orphans(client)
        yield client


@pytest.fixture(scope="session")
def busybox(daemon: APIClient) -> str:
    """The name of an image with busybox and its applets; users are root and ``someone`` (1000)."""
    return busybox_image(daemon)


def connect(url: str = SOCKET) -> APIClient:
    """A client, or the test is skipped."""
    try:
        client = APIClient(url, version="1.41", timeout=_TIMEOUT_S)
        client.ping()
    except (docker.errors.DockerException, RequestException, OSError) as error:
        missing(f"no Docker daemon answers at {url}: {error}")
    return client


def busybox_image(client: APIClient) -> str:
    """Imports the image unless it is there; its name follows from its content, so any number of tests may ask."""
    archive = _root_file_system()
    tag = hashlib.sha256(archive).hexdigest()[:16]
    name = f"{REPOSITORY}:{tag}"
    try:
        client.inspect_image(name)
    except docker.errors.ImageNotFound:
        client.import_image_from_data(archive, repository=REPOSITORY, tag=tag)
    return name


def _remove_orphans(client: APIClient) -> None:
    """Networks of workers that were killed with their tests: their state is gone."""
    for network in client.networks(filters={"label": "taskward.state"}):
        state_dir = Path(network["Labels"]["taskward.state"])
        if state_dir.is_relative_to(tempfile.gettempdir()) and not state_dir.exists():
            with contextlib.suppress(docker.errors.APIError):
                client.remove_network(network["Id"])


def missing(reason: str) -> NoReturn:
    """Leaves the test out, for `reason`; not in continuous integration."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _root_file_system() -> bytes:
    """The same bytes each time."""
    program = shutil.which("busybox")
    if program is None:
        missing("busybox is not installed")
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("home/someone", 0o755)):
            archive.addfile(_entry(name, tarfile.DIRTYPE, mode))
        _file(archive, "bin/busybox", Path(program).read_bytes(), 0o755)
        for applet in _APPLETS:
            link = _entry(f"bin/{applet}", tarfile.SYMTYPE, 0o777)
            link.linkname = "busybox"
            archive.addfile(link)
        _file(archive, "etc/passwd", b"root:x:0:0::/root:/bin/sh\nsomeone:x:1000:1000::/home/someone:/bin/sh\n", 0o644)
        _file(archive, "etc/group", b"root:x:0:\nsomeone:x:1000:\n", 0o644)
    return output.getvalue()


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _file(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = _entry(name, tarfile.REGTYPE, mode)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
