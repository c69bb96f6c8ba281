"""A certificate authority of a test's own."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Issues certificates; everything lies below `directory`."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._name = directory, _named(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = directory / f"{name}.crt"
        self.file.write_bytes(_pem(self._sign(self._name, self._key.public_key(), [], is_authority=True)))

    def issue(self, name: str, *alternatives: str) -> tuple[Path, Path]:
        """Files with a certificate for the common name and the alternative DNS names (or addresses), and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, private = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        certificate.write_bytes(_pem(self._sign(_named(name), key.public_key(), [*alternatives])))
        form = serialization.PrivateFormat.PKCS8
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return certificate, private

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, alternatives: list[str], is_authority: bool = False
    ) -> x509.Certificate:
        now, day = datetime.now(UTC), timedelta(days=1)
        serial = x509.random_serial_number()
        builder = x509.CertificateBuilder(self._name, subject, key, serial, now - day, now + day).add_extension(
            x509.BasicConstraints(ca=is_authority, path_length=None), critical=True
        )
        if alternatives:
            names = [_alternative(text) for text in alternatives]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _alternative(text: str) -> x509.GeneralName:
    return x509.IPAddress(ip_address(text)) if text[0].isdigit() else x509.DNSName(text)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
