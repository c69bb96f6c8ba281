"""Downloading artifacts to see for ourselves what is in them."""

import hashlib
from typing import Final
from urllib.parse import urljoin, urlsplit

import urllib3

from taskward.signer.answers import ForbiddenError, TryLaterError
from taskward.signer.request import Artifact
from taskward.signer.taskcluster import Taskcluster

_MAX_REDIRECTS: Final = 3
_PIECE_BYTES: Final = 1024 * 1024
_TIMEOUT = urllib3.Timeout(connect=5, read=30)


class ContentCheck:
    """Compares uploaded artifacts with what the uploader says about them.

    Redirects are followed to the root URL's own host and to `hosts` only: an artifact is written by whoever runs
    a task, and must not lead the signer to other machines.
    """

    def __init__(self, taskcluster: Taskcluster, root_url: str, hosts: frozenset[str]) -> None:
        self._taskcluster = taskcluster
        self._hosts = hosts | {str(urlsplit(root_url).hostname)}
        self._pool = urllib3.PoolManager(retries=False, timeout=_TIMEOUT)

    def check(self, task_id: str, run_id: int, artifact: Artifact) -> None:
        """Raises `ForbiddenError` when the content has another size or hash, `TryLaterError` when it cannot be got."""
        url, headers = self._taskcluster.artifact_request(task_id, run_id, artifact.name)
        try:
            response = self._get(url, headers)
            try:
                size_bytes, sha256 = _measure(response, artifact.size_bytes)
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise TryLaterError("artifact-unavailable", f"{artifact.name}: {error}"[:500]) from error
        if (size_bytes, sha256) != (artifact.size_bytes, artifact.sha256):
            raise ForbiddenError("artifact-differs", f"the content of {artifact.name} is not what the request says")

    def _get(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        for _ in range(_MAX_REDIRECTS + 1):
            if urlsplit(url).hostname not in self._hosts:
                raise ForbiddenError("artifact-host", f"{urlsplit(url).hostname} is not one of artifact_hosts")
            response = self._pool.request("GET", url, headers=headers, redirect=False, preload_content=False)
            if response.status == 200:
                return response
            target = response.headers.get("location") if 300 <= response.status < 400 else None
            response.close()
            if target is None:
                raise TryLaterError("artifact-unavailable", f"{url} answered {response.status}")
            url, headers = urljoin(url, target), {}  # credentials are for the queue alone
        raise TryLaterError("artifact-unavailable", f"{url}: more than {_MAX_REDIRECTS} redirects")


def _measure(response: urllib3.BaseHTTPResponse, expected_bytes: int) -> tuple[int, str]:
    """Size and hash of the decoded content; stops soon after `expected_bytes`, so a zip bomb does not matter."""
    digest, size_bytes = hashlib.sha256(), 0
    for piece in response.stream(_PIECE_BYTES, decode_content=True):
        size_bytes += len(piece)
        digest.update(piece)
        if size_bytes > expected_bytes:
            break
    return size_bytes, digest.hexdigest()
