"""The forms of identifiers, as patterns for a whole string, and new random ones."""

import base64
import os
import secrets
import uuid

SLUG = r"[A-Za-z0-9_-]{8}[Q-T][A-Za-z0-9_-][CGKOSWaeimquy26-][A-Za-z0-9_-]{10}[AQgw]"
GENERIC = r"[a-zA-Z0-9\-_]{1,38}"
RUN = r"[1-9]*[0-9]+"
WORKER_TYPE = r"[a-z]([-a-z0-9]{0,36}[a-z0-9])?"
TASK_QUEUE = rf"{GENERIC}/{WORKER_TYPE}"
WORKER_POOL = rf"{GENERIC}/[a-z]([-a-z0-9]{{0,36}}[a-z0-9])?"
PRINTABLE = r"[\x20-\x7e]+"
SCOPE = r"[\x20-\x7e]*"
CLIENT = r"[A-Za-z0-9!@/:.+|_-]+"
ROLE = r"[\x20-\x7e]+"
NAMESPACE = r"([a-zA-Z0-9_!~*'()%-]+\.)*[a-zA-Z0-9_!~*'()%-]+"


def new_slug() -> str:
    """Return a random identifier in the form of task ids, never beginning with a dash."""
    raw = bytearray(uuid.uuid4().bytes)
    raw[0] &= 0x7F
    return base64.urlsafe_b64encode(raw)[:22].decode()


def new_token() -> str:
    """Return a random access token: 44 characters that need no escaping anywhere."""
    return secrets.token_urlsafe(33)


def new_file_name() -> str:
    """Return a random name for a file."""
    return os.urandom(16).hex()
