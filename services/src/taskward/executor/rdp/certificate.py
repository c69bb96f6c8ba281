"""A TLS certificate for one desktop: signed by itself, told apart by its fingerprint."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self

_SKEW: Final = timedelta(days=1)
_LONGEST_NAME: Final = 64


@dataclass(frozen=True)
class Certificate:
    """Certificate and key in PEM; the fingerprint in hex, with colons."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    sha256: str

    @classmethod
    def make(cls, host: str, now: datetime, valid: timedelta) -> Self:
        """A new key, and a certificate for `host`."""
        # imported late: executors of workers without desktops never need them
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
        from cryptography.x509.oid import NameOID

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:_LONGEST_NAME])])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(now + valid + _SKEW)
            .sign(key, hashes.SHA256())
        )
        return cls(
            certificate.public_bytes(Encoding.PEM),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            certificate.fingerprint(hashes.SHA256()).hex(":"),
        )
