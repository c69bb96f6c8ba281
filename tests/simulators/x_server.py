"""An image with an X server of this machine: busybox, Xvnc without its network, xev, and what they need."""

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import docker.errors
import pytest
from docker.api.client import APIClient

from simulators.docker import busybox_image

REPOSITORY: Final = "taskward-test/x-servers"
_PROGRAMS: Final = {"Xvnc": "tigervnc-standalone-server", "xkbcomp": "x11-xkb-utils", "xev": "x11-utils"}
_KEYBOARDS: Final = Path("/usr/share/X11/xkb")
_LIBRARY: Final = re.compile(r"(/\S+) \(0x")


def x_server_image(client: APIClient) -> str:
    """Its name; made unless it is there. Its user is ``someone``."""
    files = _files()
    tag = hashlib.sha256("\n".join(_described(files)).encode()).hexdigest()[:16]
    name = f"{REPOSITORY}:{tag}"
    try:
        client.inspect_image(name)
    except docker.errors.ImageNotFound:
        container = client.create_container(busybox_image(client), ["true"])["Id"]
        client.put_archive(container, "/", _archive(files))
        client.commit(container, repository=REPOSITORY, tag=tag, changes=["USER someone"])
        client.remove_container(container)
    return name


def x_server(number: int, *options: str) -> str:
    """A command that starts one in the background and waits until it is there."""
    words = " ".join(options)
    return (
        f"Xvnc :{number} -rfbport -1 -SecurityTypes None -geometry 320x200 -depth 24 -wr {words} >/dev/null 2>&1 & "
        f"while [ ! -e /tmp/.X11-unix/X{number} ]; do sleep 0.02; done; "
    )


def need(*programs: str) -> None:
    """Skips the test where one is not installed; in continuous integration it fails."""
    for program in programs:
        if shutil.which(program) is None:
            _missing(f"{program} is not installed")


def _files() -> dict[str, Path]:
    """Name in the image → file of this machine."""
    need(*_PROGRAMS)
    found: dict[str, Path] = {}
    for program in _PROGRAMS:
        path = Path(str(shutil.which(program))).resolve()
        found[f"usr/bin/{program}"] = path
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        found |= {name.lstrip("/"): Path(name).resolve() for name in _LIBRARY.findall(listed)}
    keyboards = (each for each in sorted(_KEYBOARDS.rglob("*")) if each.is_file())
    return found | {str(each).lstrip("/"): each.resolve() for each in keyboards}


def _described(files: dict[str, Path]) -> Iterator[str]:
    for name, path in files.items():
        yield f"{name} {path.stat().st_size} {path.stat().st_mtime_ns}"


def _archive(files: dict[str, Path]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, path in files.items():
            archive.add(path, name)
    return output.getvalue()


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
