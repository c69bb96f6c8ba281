"""Builds at a quay, by a builder that has nothing but the task's own socket; contexts for them."""

import io
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from executor.docker.dind.quay import Quay
from taskward.executor.docker.dind.build.builder import Build, Order
from taskward.executor.docker.dind.build.site import Site
from taskward.executor.docker.dind.wire import Wire

ORDER = Order("build-0", "Dockerfile", {}, {}, ("own:1",), "", pull=False, quiet=False, most_bytes=1 << 20)
FILES = {"a.txt": b"one", "d/b.txt": b"two", "d/c.md": b"three"}


class Slip:
    """Builds at a quay; `asked` is what has reached the daemon."""

    def __init__(self, quay: Quay, home: Path) -> None:
        self.quay, self.home = quay, home

    def build(self, dockerfile: str, members: bytes | None = None, **order: Any) -> str:
        """What the client is told."""
        archive = members if members is not None else packed({"Dockerfile": dockerfile.encode(), **FILES})
        with tempfile.TemporaryFile() as context:
            context.write(archive)
            context.seek(0)
            told = io.BytesIO()
            site = Site(Wire(f"unix://{self.quay.path}", "1.41", 10.0), "build-0")
            Build(Order(**{**asdict(ORDER), **order}), site, told, self.home).run(context.fileno())
        return told.getvalue().decode()

    def put(self) -> dict[str, tarfile.TarInfo]:
        """What was put into containers."""
        found: dict[str, tarfile.TarInfo] = {}
        for each in self.quay.asked:
            if each.method == "PUT":
                with tarfile.open(fileobj=io.BytesIO(each.body)) as archive:
                    found |= {member.name: member for member in archive}
        return found

    def committed(self) -> dict[str, Any]:
        """What the last image says of itself."""
        found: dict[str, Any] = [each for each in self.quay.asked if each.path == "/commit"][-1].document
        return found


def packed(files: Mapping[str, bytes], *members: tarfile.TarInfo) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.uid, member.uname = len(content), 1000, "author"
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return output.getvalue()


def link(kind: bytes, name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member
