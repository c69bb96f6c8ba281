"""Callers of the signer, honest and other."""

import http.client
import io
import json
import secrets
import socket
from pathlib import Path
from typing import Any

import mohawk
import pytest

from signer import processes
from signer.processes import Service
from signer.simulated_queue import SimulatedTask, SimulatedTaskcluster
from taskward.signer.client import (
    RunCredentials,
    SignerClient,
    SignerRefused,
    UploadedArtifact,
)

SHA256 = "0" * 64
"""A hash that no content has."""


def refusal(
    client: SignerClient,
    task: SimulatedTask,
    credentials: RunCredentials,
    artifacts: list[UploadedArtifact] | None = None,
    **more: Any,
) -> str:
    """The code with which the signer refuses."""
    with pytest.raises(SignerRefused) as refused:
        client.certify(task.task_id, more.pop("run_id", 0), credentials, artifacts or [], **more)
    return refused.value.code


class RawCaller:
    """Sends what an honest client would not."""

    def __init__(self, socket_path: Path, credentials: RunCredentials) -> None:
        self._path = socket_path
        self._credentials = credentials

    def body(self, task: SimulatedTask, **changes: Any) -> bytes:
        request = {"taskId": task.task_id, "runId": 0, "nonce": secrets.token_urlsafe(24), "artifacts": []}
        return json.dumps({**request, **changes}).encode()

    def header(self, body: bytes, **options: Any) -> str:
        key = {"id": self._credentials.client_id, "key": self._credentials.access_token, "algorithm": "sha256"}
        content = {"content": io.BytesIO(body), "content_type": "application/json"}
        url = options.pop("url", "http://signer:80/v1/certify")
        make: Any = mohawk.Sender  # has no types, and checkers guess wrong ones
        sender = make(key, url, options.pop("method", "POST"), **{**content, **options})
        header: str = sender.request_header
        return header

    def send(self, body: bytes, header: str | None = None, **headers: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("signer", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self._path))
        all_headers = {"Authorization": self.header(body) if header is None else header, **headers}
        connection.request("POST", "/v1/certify", body=body, headers=all_headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    def code(self, body: bytes, header: str | None = None, **headers: str) -> tuple[int, str]:
        status, answer = self.send(body, header, **headers)
        assert answer["error"]["retryable"] is False
        return status, answer["error"]["code"]


def other_signer(keyholder: Service, directory: Path, taskcluster: SimulatedTaskcluster, **changes: Any) -> Path:
    """A second signer of the same keyholder with other settings."""
    shared = {
        "keyholder_socket": str(keyholder.directory / "keyholder.sock"),
        "public_keys_dir": str(keyholder.directory / "public"),
    }
    return processes.write_config(directory, taskcluster.root_url, signer={**shared, **changes})


def get(service: Service, path: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(service.directory / "signer.sock"))
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        with connection.makefile(encoding="utf-8", newline="") as answer:
            return answer.read()
