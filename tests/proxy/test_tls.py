"""Taskcluster over https: verified, streamed, reused."""

import datetime
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxy.rig import RedisServer, Rig, running_proxy
from proxy.upstream import SimulatedTaskcluster, reply, simulated_taskcluster


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture
def tls_taskcluster(certificate: Path) -> Iterator[SimulatedTaskcluster]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with simulated_taskcluster(context) as taskcluster:
        yield taskcluster


@pytest.fixture
def tls_rig(redis_server: RedisServer, tls_taskcluster: SimulatedTaskcluster, certificate: Path) -> Iterator[Rig]:
    with running_proxy(redis_server, tls_taskcluster, f'ca_file = "{certificate}"\nretry_for_s = 0.5\n') as rig:
        yield rig


def test_calls_and_big_bodies_pass_over_tls(tls_rig: Rig) -> None:
    for _ in range(5):
        assert tls_rig.request("/api/queue/v1/x").status == 200
    assert tls_rig.taskcluster.connections == 1, "the connection is reused"
    big = bytes(range(256)) * 40_000
    tls_rig.taskcluster.next(reply(big))
    assert tls_rig.request("/api/queue/v1/x").body == big
    assert tls_rig.request("/api/queue/v1/x", "PUT", big).status == 200
    assert tls_rig.taskcluster.requests[-1].body == big


def test_a_certificate_that_nobody_vouches_for_is_refused(
    redis_server: RedisServer, tls_taskcluster: SimulatedTaskcluster
) -> None:
    with running_proxy(redis_server, tls_taskcluster, "retry_for_s = 0.2\n") as rig:
        answer = rig.request("/api/queue/v1/x")
    assert answer.status == 502
    assert "certificate verify failed" in answer.json["message"]
    assert tls_taskcluster.requests == [], "nothing was sent"
