"""Uploads over https: the named authority is believed, nobody else."""

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from taskward.uploader.content import FOR_SIGNER, FileBody
from taskward.uploader.errors import StorageUnreachable
from taskward.uploader.transfer import Transfers

CONTENT = bytes(range(256)) * 20_000


class Store(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    received: list[bytes]

    def do_PUT(self) -> None:
        self.received.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Quiet(HTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust us hangs up."""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "storage")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "storage.pem"
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *private)
    )
    return path


@pytest.fixture
def url(certificate: Path) -> Iterator[str]:
    Store.received = []
    server = Quiet(("127.0.0.1", 0), Store)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/put"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def body(tmp_path: Path) -> Iterator[FileBody]:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    body = FileBody(path, len(CONTENT), FOR_SIGNER)
    yield body
    body.close()


def test_content_arrives_over_tls(url: str, certificate: Path, body: FileBody) -> None:
    transfers = Transfers(str(certificate))
    transfers.put(url, {"Content-Type": "text/plain"}, body)
    transfers.close()
    assert Store.received == [CONTENT]


def test_an_unknown_authority_gets_nothing(url: str, body: FileBody) -> None:
    transfers = Transfers()
    with pytest.raises(StorageUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        transfers.put(url, {"Content-Type": "text/plain"}, body)
    assert Store.received == []
