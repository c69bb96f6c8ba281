"""Artifact names that mean something to the chain of trust."""

from typing import Final

CLEAR_SIGNED: Final = "public/chainOfTrust.json.asc"
DOCUMENT: Final = "public/chain-of-trust.json"
DETACHED_SIGNATURE: Final = "public/chain-of-trust.json.sig"
CERTIFICATE: Final = "public/logs/certificate.json.gpg"
PROVENANCE: Final = "public/provenance.intoto.json"

DOCUMENT_NAMES: Final = frozenset({CLEAR_SIGNED, DOCUMENT, DETACHED_SIGNATURE, CERTIFICATE, PROVENANCE})
"""What the signer makes; never part of what it certifies."""
