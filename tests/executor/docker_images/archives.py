"""Images as careful and as hostile people make them."""

import gzip
import hashlib
import io
import json
import secrets
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar(files: Mapping[str, bytes]) -> bytes:
    return archive(Member(name, data) for name, data in files.items())


@dataclass(frozen=True)
class Member:
    """A file by default."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    target: str = ""


def archive(members: Iterable[Member]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as made:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.size, info.type, info.linkname, info.mode = len(member.data), member.kind, member.target, 0o755
            made.addfile(info, io.BytesIO(member.data))
    return stream.getvalue()


@dataclass(frozen=True)
class Picture:
    """An image; each has another content, unless it is told."""

    layers: Sequence[bytes] = field(default_factory=lambda: (tar({"marker": secrets.token_bytes(16)}),))
    architecture: str = "amd64"
    os: str = "linux"
    command: Sequence[str] | None = ("/marker",)
    diff_ids: Sequence[str] | None = None

    @property
    def config(self) -> bytes:
        return json.dumps(
            {
                "architecture": self.architecture,
                "os": self.os,
                "config": {"Cmd": list(self.command) if self.command else None},
                "rootfs": {"type": "layers", "diff_ids": self.diff_ids or [digest(layer) for layer in self.layers]},
                "history": [],
            }
        ).encode()

    @property
    def id(self) -> str:
        return digest(self.config)

    def files(self, tags: Sequence[str] = ("made:latest",), **manifest: Any) -> dict[str, bytes]:
        """As `docker save` writes them."""
        names = [f"{number}/layer.tar" for number in range(len(self.layers))]
        described = {"Config": f"{self.id[7:]}.json", "RepoTags": list(tags), "Layers": names, **manifest}
        return {
            **dict(zip(names, self.layers, strict=True)),
            f"{self.id[7:]}.json": self.config,
            "manifest.json": json.dumps([described]).encode(),
            "repositories": json.dumps({tag.split(":")[0]: {"latest": "0"} for tag in tags}).encode(),
        }

    def saved(self, tags: Sequence[str] = ("made:latest",)) -> bytes:
        return tar(self.files(tags))

    def layout(
        self, *, compress: bool = True, more: Sequence[Mapping[str, Any]] = (), name: str = ""
    ) -> dict[str, bytes]:
        """An OCI layout, with `name` as tools write it into the index."""
        blobs = [gzip.compress(layer, mtime=0) if compress else layer for layer in self.layers]
        kind = "application/vnd.oci.image"
        manifest = {
            "schemaVersion": 2,
            "config": _descriptor(f"{kind}.config.v1+json", self.config),
            "layers": [_descriptor(f"{kind}.layer.v1.tar{'+gzip' if compress else ''}", blob) for blob in blobs],
        }
        text = json.dumps(manifest).encode()
        entry = _descriptor(f"{kind}.manifest.v1+json", text) | ({"annotations": {"io.containerd.image.name": name}})
        index = {"schemaVersion": 2, "manifests": [entry, *more]}
        return {
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
            "index.json": json.dumps(index).encode(),
            **{f"blobs/sha256/{digest(blob)[7:]}": blob for blob in (*blobs, self.config, text)},
        }


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest(data), "size": len(data)}
