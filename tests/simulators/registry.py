"""A registry of images (distribution API version 2) on a port of loopback; daemons pull from there without TLS."""

import base64
import gzip
import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from simulators import listener

_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"

Behaviour = Callable[["Request"], bool]
"""Does something with a request, and says whether it was answered."""


class Request(listener.Request):
    registry: "Registry"

    def do_GET(self) -> None:
        registry = self.registry
        registry.requests.append(f"{self.command} {self.path}")
        if registry.behaviour is not None and registry.behaviour(self):
            return
        if registry.login and self.headers.get("Authorization") != registry.expected:
            error = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
            self.respond(json.dumps(error).encode(), 401, "application/json", WWW_Authenticate='Basic realm="registry"')
            return
        self._answer()

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self) -> None:
        parts = self.path.strip("/").split("/")
        if parts == ["v2"]:
            self.respond(b"{}", 200, "application/json")
            return
        repository, kind, name = "/".join(parts[1:-2]), parts[-2], parts[-1]
        if kind == "manifests" and (found := self.registry.manifests.get((repository, name))):
            self.respond(found[1], 200, found[0], Docker_Content_Digest=digest(found[1]))
        elif kind == "blobs" and (blob := self.registry.blobs.get(name)) is not None:
            self.respond(blob, 200, "application/octet-stream")
        else:
            code = "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN"
            text = {"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}
            self.respond(json.dumps(text).encode(), 404, "application/json")

    def respond(self, body: bytes, status: int, kind: str, **fields: str) -> None:
        self.reply(body, status, Content_Type=kind, Docker_Distribution_Api_Version="registry/2.0", **fields)


class Registry(listener.Listener):
    """Serves what was pushed; `behaviour` may answer instead."""

    def __init__(self, login: str = "") -> None:
        self.login = login
        self.behaviour: Behaviour | None = None
        self.requests: list[str] = []
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        super().__init__(Request, registry=self)
        self.host = f"127.0.0.1:{self.port}"

    @property
    def expected(self) -> str:
        """What a client with the right login sends."""
        return f"Basic {base64.b64encode(self.login.encode()).decode()}"

    def push(self, repository: str, tag: str, config: bytes, layers: Sequence[bytes]) -> str:
        """Its name for a client."""
        blobs = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        for blob in (config, *blobs):
            self.blobs[digest(blob)] = blob
        kind = "application/vnd.docker"
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(f"{kind}.container.image.v1+json", config),
            "layers": [_descriptor(f"{kind}.image.rootfs.diff.tar.gzip", blob) for blob in blobs],
        }
        return self._publish(repository, tag, _MANIFEST, manifest)

    def push_list(self, repository: str, tag: str, platforms: Sequence[tuple[str, str]]) -> str:
        """A list of images for other machines than anybody has."""
        entries = [
            _descriptor(_MANIFEST, b"x") | {"platform": {"os": os, "architecture": architecture}}
            for os, architecture in platforms
        ]
        return self._publish(repository, tag, _LIST, {"schemaVersion": 2, "mediaType": _LIST, "manifests": entries})

    def pulls(self, repository: str) -> int:
        """How often a client has asked what a tag means, which is how it begins."""
        asked = f"HEAD /v2/{repository}/manifests/"
        return sum(line.startswith(asked) and "sha256:" not in line for line in self.requests)

    def _publish(self, repository: str, tag: str, kind: str, manifest: Any) -> str:
        text = json.dumps(manifest).encode()
        self.manifests[repository, tag] = self.manifests[repository, digest(text)] = (kind, text)
        return f"{self.host}/{repository}:{tag}"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def hangs(part: str, released: threading.Event) -> Behaviour:
    """Never answers to a request for `part`."""

    def behave(request: Request) -> bool:
        if part not in request.path:
            return False
        released.wait(30)
        return True

    return behave


def garbage(request: Request) -> bool:
    """Answers with bytes that mean nothing."""
    request.respond(b"\x00\xffgarbage\x1b[31m" * 20, 200, _MANIFEST)
    return True


def fails(status: int, times: int) -> Behaviour:
    """So often, then no more; the entry point always answers."""
    left = [times]

    def behave(request: Request) -> bool:
        if request.path.strip("/") == "v2" or not left[0]:
            return False
        left[0] -= 1
        request.respond(b"", status, "text/plain")
        return True

    return behave


def slowly(part: str, pause_s: float) -> Behaviour:
    """Waits before it answers to a request for `part`."""

    def behave(request: Request) -> bool:
        if part in request.path:
            time.sleep(pause_s)
        return False

    return behave


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(data), "digest": digest(data)}
