"""How other processes ask the signer; the only module that they import from this package.

Order of calls: upload every artifact, then `SignerClient.certify` with exactly those, then upload the documents.
"""

import base64
import http.client
import io
import json
import secrets
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mohawk

_URL: Final = "http://signer:80/v1/certify"
_CONTENT_TYPE: Final = "application/json"
_HAWK_SENDER: Final[Any] = mohawk.Sender  # has no types, and checkers guess wrong ones
_MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024


class SignerUnavailable(Exception):
    """No answer this time: the signer, its keyholder or the queue is away, or too many ask. Repeat after a pause."""


class SignerRefused(Exception):
    """The signer will not sign this, now or later: do not repeat.

    `code` is one of the signer's words (``artifact-not-listed``, ``not-asked-for``, …), `message` is for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class RunCredentials:
    """The run's own credentials, as claimWork or reclaimTask gave them; `certificate` is JSON text."""

    client_id: str
    access_token: str
    certificate: str | None


@dataclass(frozen=True)
class UploadedArtifact:
    """An artifact that lies in storage; hash and size are of the content before any content encoding."""

    name: str
    sha256: str
    size_bytes: int
    content_type: str | None = None


@dataclass(frozen=True)
class Document:
    """A signed file; upload `content` byte for byte under `name`."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True)
class TlsAddress:
    """A signer on another host: whom we call, the authority of its certificate, and ours with its key."""

    host: str
    port: int
    ca_file: Path
    certificate_file: Path
    key_file: Path

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class SignerClient:
    """One signer behind its Unix socket, or on another host; safe for several threads, one connection a call."""

    def __init__(self, address: Path | str | TlsAddress, timeout_s: float = 120) -> None:
        self._address = address
        self._timeout_s = timeout_s

    def certify(
        self,
        task_id: str,
        run_id: int,
        credentials: RunCredentials,
        artifacts: Iterable[UploadedArtifact],
        environment: Mapping[str, str] | None = None,
        on_omitted: Callable[[str, str], None] | None = None,
    ) -> tuple[Document, ...]:
        """The signed documents of a run that is still running and whose artifacts are all uploaded.

        `artifacts` are all stored (s3 or object) artifacts of the run, without its live and backing log and
        without the documents. `environment` may hold ``imageHash`` and ``imageArtifactHash``
        (``sha256:<hex>``). Repeating the call with the same arguments gives the same bytes; other arguments for
        the same run are refused. `on_omitted` is told name and reason of each document that cannot exist for
        this task (OpenPGP bears no line above 19 993 bytes): say so in the task's log.

        Raises `SignerUnavailable` (repeat, with the newest credentials) or `SignerRefused` (do not).
        """
        body = json.dumps(
            {
                "taskId": task_id,
                "runId": run_id,
                "nonce": secrets.token_urlsafe(24),
                "artifacts": [_entry(artifact) for artifact in artifacts],
                "environment": dict(environment or {}),
            }
        ).encode()
        headers = {"Authorization": _authorization(credentials, body), "Content-Type": _CONTENT_TYPE}
        answer = self._ask("POST", "/v1/certify", body, headers)
        for omission in answer["omitted"]:
            if on_omitted is not None:
                on_omitted(omission["name"], omission["reason"])
        return tuple(
            Document(entry["name"], entry["content_type"], base64.b64decode(entry["content_base64"]))
            for entry in answer["documents"]
        )

    def keys(self) -> dict[str, Any]:
        """The public keys: ``openpgp`` (armored, fingerprint, expires, …), ``ed25519`` and ``dsse`` (publicKey, …).

        Raises like `certify`.
        """
        return self._ask("GET", "/v1/keys", None, {})

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> dict[str, Any]:
        connection: http.client.HTTPConnection | None = None
        try:
            connection = self._connection()
            connection.request(method, path, body=body, headers=dict(headers))
            response = connection.getresponse()
            text = response.read(_MAX_ANSWER_BYTES)
            answer: dict[str, Any] = json.loads(text)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SignerUnavailable(f"the signer at {self._address} does not answer: {error!r}") from error
        finally:
            if connection is not None:
                connection.close()
        if response.status == http.HTTPStatus.OK:
            return answer
        problem = answer.get("error", {})
        if problem.get("retryable", response.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR):
            raise SignerUnavailable(f"{problem.get('code')}: {problem.get('message')}")
        raise SignerRefused(str(problem.get("code")), str(problem.get("message")))

    def _connection(self) -> http.client.HTTPConnection:
        """The files are read each time, so that certificates may be renewed."""
        address = self._address
        if not isinstance(address, TlsAddress):
            return _UnixConnection(str(address), self._timeout_s)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(address.ca_file)
        context.load_cert_chain(address.certificate_file, address.key_file)
        return http.client.HTTPSConnection(address.host, address.port, timeout=self._timeout_s, context=context)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("signer", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _entry(artifact: UploadedArtifact) -> dict[str, str | int]:
    entry: dict[str, str | int] = {
        "name": artifact.name,
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
    }
    if artifact.content_type is not None:
        entry["content_type"] = artifact.content_type
    return entry


def _authorization(credentials: RunCredentials, body: bytes) -> str:
    """A Hawk header over the body, with the certificate of temporary credentials as Taskcluster wants it."""
    ext = None
    if credentials.certificate is not None:
        ext = base64.b64encode(b'{"certificate":' + credentials.certificate.encode() + b"}").decode()
    sender = _HAWK_SENDER(
        {"id": credentials.client_id, "key": credentials.access_token, "algorithm": "sha256"},
        _URL,
        "POST",
        content=io.BytesIO(body),  # bytes would be pretty-printed for a debug message
        content_type=_CONTENT_TYPE,
        ext=ext,
    )
    header: str = sender.request_header
    return header
