"""Dead Simple Signing Envelope: https://github.com/secure-systems-lab/dsse."""

import base64
from typing import Any, Final

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
"""The only type of payload that is ever signed here."""


def pre_authentication_encoding(payload: bytes) -> bytes:
    """What the signature covers."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def envelope(payload: bytes, signature: bytes, key_id: str) -> dict[str, Any]:
    """Payload and signature in one JSON object."""
    return {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key_id, "sig": base64.b64encode(signature).decode()}],
    }
