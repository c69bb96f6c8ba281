"""Certificates for processes that meet on a network and have to know each other."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_SKEW: Final = timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """Certificate and key, PEM."""

    certificate: str
    key: str = field(repr=False)


class Authority:
    """Believed by those who have its certificate; its key is forgotten with this object, so the group never grows."""

    def __init__(self, now: datetime, valid: timedelta) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._from, self._until = now - _SKEW, now + valid
        self._name = _named("taskward authority")
        made = self._draft(self._name, self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = _pem(made.sign(self._key, None))

    def issue(self, name: str) -> Issued:
        """For whoever is reached by the DNS name `name`, or calls by it."""
        key = Ed25519PrivateKey.generate()
        made = self._draft(_named(name), key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Issued(_pem(made.sign(self._key, None)), secret.decode())

    def _draft(self, subject: x509.Name, key: Ed25519PublicKey) -> x509.CertificateBuilder:
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number(), self._from, self._until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(own, critical=False)
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
