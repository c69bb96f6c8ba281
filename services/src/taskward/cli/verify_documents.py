"""The signed documents below a directory: where they lie, whose key each needs, and how each is opened."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from taskward.cli.verify_claims import (
    Claim,
    VerificationError,
    claim_of_certificate,
    claim_of_chain_of_trust,
    claim_of_statement,
)
from taskward.cli.verify_signatures import OpenPgpKey, check_ed25519, open_clear_signed, open_dsse

_MAX_DOCUMENT_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True)
class TrustedKeys:
    """The keys that a signature has to be by; a document whose kind has no key here fails."""

    openpgp: tuple[OpenPgpKey, ...]
    """One or none."""
    ed25519: tuple[Ed25519PublicKey, ...]
    dsse: tuple[Ed25519PublicKey, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """For which `Document.kind` there is a key."""
        given = {"OpenPGP": self.openpgp, "ed25519": self.ed25519, "DSSE": self.dsse}
        return tuple(kind for kind, key in given.items() if key)


@dataclass(frozen=True)
class Document:
    """One place where a signed document may lie. All that are there count, also two of the same form."""

    kind: str
    """Of the key: OpenPGP, ed25519 or DSSE."""
    name: str
    _claim: Callable[[Path, "Document", TrustedKeys], Claim]
    signature: str | None = None
    """The name of the signature that is a file of its own."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of its files."""
        return (self.name, self.signature) if self.signature else (self.name,)

    def lies_in(self, directory: Path) -> bool:
        """Whether anything has one of its names, whatever it is."""
        return any(os.path.lexists(directory / name) for name in self.names)

    def open(self, directory: Path, keys: TrustedKeys) -> Claim:
        """What it claims; raises `VerificationError` unless its signature is good and by one of `keys`."""
        if self.kind not in keys.kinds:
            raise VerificationError(f"no {self.kind} key was given to verify it with")
        return self._claim(directory, self, keys)


def open_plain_file(path: Path) -> int:
    """A descriptor to read from; raises `VerificationError` for links, directories, and all but plain files."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise VerificationError(f"cannot be read: {path.name}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise VerificationError("not a regular file")
    return descriptor


def _read(path: Path) -> bytes:
    with open(open_plain_file(path), "rb") as file:
        content = file.read(_MAX_DOCUMENT_BYTES + 1)
    if len(content) > _MAX_DOCUMENT_BYTES:
        raise VerificationError(f"larger than {_MAX_DOCUMENT_BYTES} bytes")
    return content


def _clear_signed(directory: Path, document: Document, keys: TrustedKeys) -> Claim:
    return claim_of_chain_of_trust(_openpgp_body(directory, document, keys))


def _certificate(directory: Path, document: Document, keys: TrustedKeys) -> Claim:
    return claim_of_certificate(_openpgp_body(directory, document, keys))


def _openpgp_body(directory: Path, document: Document, keys: TrustedKeys) -> bytes:
    [key] = keys.openpgp
    return open_clear_signed(_read(directory / document.name), key)


def _detached(directory: Path, document: Document, keys: TrustedKeys) -> Claim:
    body, signature = (_read(directory / name) for name in document.names)
    check_ed25519(body, signature, keys.ed25519)
    return claim_of_chain_of_trust(body)


def _provenance(directory: Path, document: Document, keys: TrustedKeys) -> Claim:
    return claim_of_statement(open_dsse(_read(directory / document.name), keys.dsse))


DOCUMENTS: Final = (
    Document("OpenPGP", "public/chainOfTrust.json.asc", _clear_signed),
    Document("OpenPGP", "public/logs/chainOfTrust.json.asc", _clear_signed),
    Document("ed25519", "public/chain-of-trust.json", _detached, "public/chain-of-trust.json.sig"),
    Document("OpenPGP", "public/logs/certificate.json.gpg", _certificate),
    Document("OpenPGP", "public/certificate.json.gpg", _certificate),
    Document("DSSE", "public/provenance.intoto.json", _provenance),
)
DOCUMENT_NAMES: Final = frozenset(name for document in DOCUMENTS for name in document.names)
