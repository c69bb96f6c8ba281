"""Reading artifacts: following links, and finding the URL of the bytes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from taskward.devcluster.artifacts import Artifact, Artifacts
from taskward.devcluster.clock import Clock
from taskward.devcluster.errors import InputError, ResourceExpired, ResourceNotFound
from taskward.devcluster.objects import Objects
from taskward.devcluster.signed_urls import PUBLIC_BUCKET, SignedUrls

_LIFETIME = timedelta(minutes=30)
_DOWNLOAD_LIFETIME = timedelta(hours=1)


class Reading:
    """Finds artifacts for readers."""

    def __init__(self, artifacts: Artifacts, objects: Objects, urls: SignedUrls, clock: Clock) -> None:
        self._artifacts = artifacts
        self._objects = objects
        self._urls = urls
        self._clock = clock

    def load(self, task_id: str, run_id: int, name: str) -> Artifact:
        """Return an artifact that can be read; raises ``ResourceNotFound``."""
        artifact = self._artifacts.find(task_id, run_id, name)
        if artifact is None or not artifact.present:
            raise ResourceNotFound("Artifact not found")
        return artifact

    def follow(self, task_id: str, run_id: int, name: str, permit: Callable[[str], None]) -> Artifact:
        """Return the artifact at the end of a chain of links.

        ``permit`` is called with each name on the way and raises when the reader may not read it.
        Raises ``ResourceNotFound``, ``ResourceExpired``, and ``InputError`` when the links make a circle.
        """
        passed: set[str] = set()
        while True:
            if name in passed:
                raise InputError("Artifact leads to a link cycle: " + ", ".join(sorted(passed)))
            passed.add(name)
            permit(name)
            artifact = self.load(task_id, run_id, name)
            if artifact.expires < self._clock.now():
                raise ResourceExpired("Artifact expired")
            if artifact.storage_type != "link":
                return artifact
            name = artifact.details["artifact"]

    def url(self, artifact: Artifact) -> str:
        """Return where the bytes of an artifact are; not for errors and links."""
        details = artifact.details
        if artifact.storage_type == "reference":
            return details["url"]
        if artifact.storage_type == "object":
            return self._objects.get_url(details["objectName"])
        if details["bucket"] == PUBLIC_BUCKET:
            return self._urls.public(details["key"])
        return self._urls.sign("GET", details["bucket"], details["key"], _LIFETIME)

    def content(self, artifact: Artifact) -> dict[str, Any]:
        """Return how to get at an artifact, as ``queue.artifact`` does."""
        if artifact.storage_type == "error":
            return {"storageType": "error", **artifact.details}
        if artifact.storage_type != "object":
            return {"storageType": artifact.storage_type, "url": self.url(artifact)}
        name = artifact.details["objectName"]
        client_id = f"artifact-download/{artifact.task_id}/{artifact.run_id}"
        expires = self._clock.now() + _DOWNLOAD_LIFETIME
        credentials = self._artifacts.object_credentials(client_id, f"object:download:{name}", expires)
        return {"storageType": "object", "name": name, "credentials": credentials}
