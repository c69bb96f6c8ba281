"""Artifacts in the object service: four steps, of which the first cannot be repeated.

A second createArtifact of storageType object is answered with 500 for ever, and the first answer names the upload. So
the answer is kept in the manifest before anything else happens, and every later step (each may be repeated) starts from
there. An answer that got lost, on its way or with the process that waited for it, costs the artifact as soon as that
500 tells.
"""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from taskward.core.errors import Conflict, Unreachable
from taskward.core.taskcluster import Credentials, segment
from taskward.uploader.artifact import Description, RunArtifacts, refuse_unbearable
from taskward.uploader.content import FOR_OBJECT_SERVICE, Body, Digest, Hasher
from taskward.uploader.errors import StorageRefused
from taskward.uploader.manifest import Manifest

INLINE_BYTES: Final = 8192
_GATEWAY_HEARD_NOTHING: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})


@dataclass
class _Creation:
    """What is known of the createArtifact of one artifact.

    Attributes:
        asked_before: another process was about to send one: it has died since, or is just keeping the answer.
        unheard: one was sent whose answer did not arrive; it may have been done.
    """

    asked_before: bool
    unheard: bool = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """For one createArtifact; makes an error for good of the 500 that follows one that was done unheard."""
        try:
            yield
        except Unreachable as error:
            failed = error.status == HTTPStatus.INTERNAL_SERVER_ERROR
            if self.unheard and failed:
                raise StorageRefused(
                    f"the queue's answer to createArtifact was lost, and an object upload is handed out once: {error}"
                ) from error
            no_answer = error.status < HTTPStatus.MULTIPLE_CHOICES or error.status in _GATEWAY_HEARD_NOTHING
            self.unheard |= no_answer or (self.asked_before and failed)
            raise


@dataclass(frozen=True)
class ObjectUpload:
    """Uploads one artifact of a run to the object service; raises like `RunArtifacts`.

    `number` is its position in the outbox' index, or `manifest.OWN`.
    """

    artifacts: RunArtifacts
    manifest: Manifest
    number: int

    def put(self, description: Description, body: Body) -> Digest:
        """Uploads `body`, which must know both hashes, without encoding."""
        refuse_unbearable(description.name, description.content_type)
        creation = _Creation(asked_before=self.manifest.begun((self.number, description.name)) == {})
        return self.artifacts.judgement.of(lambda: self._attempt(creation, description, body))

    def _attempt(self, creation: _Creation, description: Description, body: Body) -> Digest:
        try:
            return self._steps(creation, description, body)
        except (KeyError, TypeError, AttributeError) as error:
            raise StorageRefused(f"the object service answered in an unknown form: {error!r}") from error

    def _steps(self, creation: _Creation, description: Description, body: Body) -> Digest:
        name = description.name
        place = self.number, name
        begun = self.manifest.begun(place)
        if not begun:
            self.manifest.asking(place)
            with creation.watched():
                begun = self.artifacts.create_once(name, description.properties("object"))
            self.manifest.begin(place, begun)
        try:
            digest = self._send(begun, description, body)
        except Conflict:  # finished before, by an answer that got lost: finish-upload compares the hashes
            digest = body.pour(lambda _piece: None)
        finished = {"projectId": begun["projectId"], "hashes": dict(digest.hashes)}
        self._object("POST", "finish-upload", begun, finished)
        self.artifacts.queue("PUT", name, {"uploadId": begun["uploadId"]})
        return digest

    def _send(self, begun: Mapping[str, Any], description: Description, body: Body) -> Digest:
        inline = _everything(body) if body.length < INLINE_BYTES else None
        answer = self._object("PUT", "upload", begun, {
            "projectId": begun["projectId"],
            "expires": description.expires,
            "proposedUploadMethods": _proposal(description.content_type, body.length, inline and inline[0]),
        })  # fmt: skip
        method = answer.get("uploadMethod") or {}
        if method.get("dataInline") and inline:
            return inline[1]
        if "putUrl" not in method:
            raise StorageRefused("the object service offers no way to upload that this worker knows")
        headers = {
            name: value for name, value in method["putUrl"]["headers"].items() if name.lower() != "content-length"
        }
        return self.artifacts.transfers.put(method["putUrl"]["url"], headers, body)

    def _object(self, method: str, verb: str, begun: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
        self.artifacts.claim.credentials()  # a lost claim ends the repeats
        return self.artifacts.taskcluster.call(
            method, "object", f"{verb}/{segment(begun['name'])}", Credentials.parse(begun["credentials"]),
            {"uploadId": begun["uploadId"], **body}, give_up_after_s=0,
        )  # fmt: skip


def _proposal(content_type: str, length: int, inline: bytes | None) -> dict[str, Any]:
    """The service prefers inline data; a backend that cannot store it may still choose the URL."""
    put_url = {"putUrl": {"contentType": content_type, "contentLength": length}}
    if inline is None:
        return put_url
    return {"dataInline": {"contentType": content_type, "objectData": base64.b64encode(inline).decode()}, **put_url}


def _everything(body: Body) -> tuple[bytes, Digest]:
    whole, hasher = bytearray(), Hasher(FOR_OBJECT_SERVICE)

    def keep(piece: memoryview) -> None:
        whole.extend(piece)
        hasher.update(piece)

    body.pour(keep)
    return bytes(whole), hasher.digest()
